"""Traces of real processes, from the command line to the model call, at a collector of our own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from temporalio.client import Client

from testbed.fake_ollama import FakeOllama
from testbed.ports import free_ports
from testbed.world import Image, until
from tests.connection.collector import collecting
from tests.desk.command_line import Starter
from tests.runtime.worker_process import WorkerProcess

CALLS = ("plan", "speak", "judge_dissonance")


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in span.attributes}


class Traced(Image):
    """An image whose worker, a process, and whose commands send their traces to a collector."""

    def __init__(self, client: Client, ollama: FakeOllama, folder: Path, **environment: Any) -> None:
        super().__init__(client, ollama.url, folder)
        self.environment = environment
        self.starter = Starter(folder, self.address, **environment)

    @asynccontextmanager
    async def worker(self, *arguments: str) -> AsyncIterator[WorkerProcess]:
        """A worker that has come up."""
        process = WorkerProcess(
            self.file.parent, *arguments, TEMPORAL_ADDRESS=self.address, **self.environment
        )
        async with process as worker:
            yield await worker.awake()


def sent_to(collector: str) -> dict[str, str]:
    # A busy machine's collector may take its time.
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}


async def test_a_task_is_one_trace_from_the_command_line_to_the_model_call(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    with collecting() as collector:
        world = Traced(client, ollama, tmp_path, **sent_to(collector.url))
        await world.start()
        async with world.worker() as worker:
            ran = await world.starter("ask", "What is a trace?", "--json")
            assert ran.code == 0, ran.err
            assert await worker.stop() == 0
    (root,) = collector.named("starter.py ask")
    ours = [span for span in collector.spans if span.trace_id == root.trace_id]
    calls = [span for span in ours if span.name.startswith("chat ")]
    assert len(calls) == len(ollama.calls) > 3
    for call in calls:
        *way, started, run, chat = collector.way(call)
        assert way == ["starter.py ask", "StartChildWorkflow:Dialogue"]
        assert started.removeprefix("StartActivity:") == run.removeprefix("RunActivity:") in CALLS
        told = attributes(call)
        assert (told["gen_ai.operation.name"], told["gen_ai.provider.name"]) == ("chat", "ollama")
        assert chat == f"chat {told['gen_ai.request.model']}"
        assert f"http://{told['server.address']}:{told['server.port']}" == ollama.url
        assert call.kind == Span.SPAN_KIND_CLIENT
        assert told["gen_ai.usage.input_tokens"] > 0 < told["gen_ai.usage.output_tokens"]
    assert {attributes(call)["gen_ai.output.type"] for call in calls} == {"text", "json"}
    assert {attributes(call)["gen_ai.agent.name"] for call in calls} == {"ALFRED", "BRICK", "ROBIN"}
    assert root.start_time_unix_nano <= min(call.start_time_unix_nano for call in calls)
    assert max(call.end_time_unix_nano for call in calls) <= root.end_time_unix_nano
    assert collector.services == {"living-image"}
    # Nothing that is said is in a trace: it may go to a server that others read.
    assert "What is a trace?" not in str(collector.spans)


async def test_tasks_that_wait_for_one_another_keep_to_their_own_traces(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    with collecting() as collector:
        world = Traced(client, ollama, tmp_path, **sent_to(collector.url))
        world.edit({"system.max_concurrent_tasks": 1})
        await world.start()
        async with world.worker() as worker:
            ollama.answering.clear()
            commands = (["ask", f"Question {number}?"] for number in range(6))
            asking = asyncio.create_task(world.starter.each(*commands))
            await until(lambda: five_wait(world), 120)
            ollama.answering.set()
            assert [ran.code for ran in await asking] == [0] * 6
            assert await worker.stop() == 0
    roots = collector.named("starter.py ask")
    traces = [span.trace_id for span in collector.named("RunWorkflow:Dialogue")]
    assert sorted(traces) == sorted(root.trace_id for root in roots)
    assert len(set(traces)) == 6


async def five_wait(world: Traced) -> bool:
    return (await world.status()).queued == 5


async def test_a_chat_at_the_door_goes_on_with_the_trace_of_its_client(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    port = str(free_ports()[0])
    asked = {"model": "living-image", "messages": [{"role": "user", "content": "And at the door?"}]}
    with collecting() as collector:
        world = Traced(client, ollama, tmp_path, **sent_to(collector.url))
        await world.start()
        async with world.worker("--door", port) as worker, httpx.AsyncClient(timeout=120) as http:
            url = f"http://127.0.0.1:{port}/v1"
            asked["model"] = (await http.get(f"{url}/models")).json()["data"][0]["id"]
            told = {"traceparent": f"00-{trace}-{span}-01"}
            answer = await http.post(f"{url}/chat/completions", json=asked, headers=told)
            assert answer.status_code == 200, answer.text
            assert await worker.stop() == 0
    (handed_in,) = collector.named("POST /v1/chat/completions")
    assert (handed_in.trace_id.hex(), handed_in.parent_span_id.hex()) == (trace, span)
    (run,) = collector.named("RunWorkflow:Dialogue")
    assert run.trace_id.hex() == trace


async def test_a_collector_that_is_gone_costs_no_answer_and_one_line(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    nowhere = f"http://127.0.0.1:{free_ports()[0]}"
    world = Traced(client, ollama, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=nowhere)
    await world.start()
    told = f"WARNING No collector takes the traces at {nowhere}; all else goes on"
    async with world.worker() as worker:
        ran = await world.starter("ask", "Does anybody listen?")
        assert ran.code == 0
        assert ran.err.splitlines()[-1].endswith(told)
        await worker.says(told)
        assert await worker.stop() == 0
    assert worker.err.count("collector") == 1
    assert len(worker.err.splitlines()) == 2, worker.err  # and that it stops


async def test_a_dialogue_whose_worker_was_killed_goes_on_in_its_trace(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    with collecting() as collector:
        world = Traced(client, ollama, tmp_path, **sent_to(collector.url))
        await world.start()
        ollama.answering.clear()
        async with world.worker() as worker:
            asking = asyncio.create_task(world.starter("ask", "Who goes on with it?"))
            await ollama.until(lambda: len(ollama.calls) == 1, 60)
            worker.process.kill()
            await worker.process.wait()
        ollama.answering.set()
        async with world.worker() as worker:
            assert (await asking).code == 0
            assert await worker.stop() == 0
    (root,) = collector.named("starter.py ask")
    calls = [span for span in collector.spans if span.name.startswith("chat ")]
    assert len(calls) == len(ollama.calls) - 1  # the worker took one along
    assert {call.trace_id for call in calls} == {root.trace_id}
    assert len(collector.named("StartChildWorkflow:Dialogue")) <= 1


@pytest.mark.parametrize(
    ("endpoint", "protocol", "says"),
    [
        ("collector", "", "which is no URL; name the collector like http://"),
        ("http://127.0.0.1:1", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL says 'grpc'; unset it"),
    ],
)
async def test_what_cannot_be_sent_to_is_told_before_anything_is_done(
    client: Client, tmp_path: Path, endpoint: str, protocol: str, says: str
) -> None:
    address = client.service_client.config.target_host
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    ran = await Starter(tmp_path, address, **environment)("status")
    assert ran.code == 2
    assert says in ran.sentence
    worker = WorkerProcess(
        tmp_path,
        TEMPORAL_ADDRESS=address,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
    )
    async with worker:
        assert await worker.process.wait() == 2
        assert says in worker.err
