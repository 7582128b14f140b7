"""What Prometheus finds at a worker: the metrics that messages/metrics.py names, and Temporal's own."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from temporalio.client import WorkflowFailureError

from connection.server import connect
from messages import metrics
from testbed.fake_ollama import FakeOllama
from testbed.ports import free_port
from testbed.processes import ROOT
from testbed.world import until
from tests.runtime.worker_process import IMAGE, WorkerProcess, argue, dev_ports

NAMES = {name for key, name in vars(metrics).items() if key.isupper() and isinstance(name, str)}
AFTER_A_VERDICT, AFTER_A_SAVE = {metrics.VERDICTS}, {metrics.SNAPSHOT_SECONDS}


DASHBOARD = json.loads((ROOT / "cluster" / "grafana" / "living-image.json").read_text())
LATER = ("living_image_verdicts", "living_image_snapshot_age")
"""What this test is too short for."""


def queries() -> Iterator[tuple[str, set[str]]]:
    """Each metric that the dashboard asks for, with the labels by which it does."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            matchers = re.findall(r"(\w+)(?:=~|!=|=)\"", target["expr"])
            groups = ", ".join(re.findall(r"by \(([^)]*)\)", target["expr"])).split(", ")
            for metric in re.findall(r"(?:living_image|temporal)_\w+", target["expr"]):
                yield metric, {label for label in (*matchers, *groups) if label}


async def scraped(port: int) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://127.0.0.1:{port}/metrics")).text


async def test_tasks_are_measured_from_the_queue_to_the_tokens_and_logged_as_objects(
    ollama: FakeOllama, tmp_path: Path
) -> None:
    port = free_port()
    ollama.fail("empty", times=9, asks="text")
    options = (*dev_ports(), "--metrics", str(port), "--log-json")
    async with WorkerProcess(tmp_path, *options, OLLAMA_HOST=ollama.url) as worker:
        await worker.awake()
        client = await connect(worker.server.address)
        with pytest.raises(WorkflowFailureError):
            await argue(client, "Is it not?")
        failed = (await client.get_workflow_handle(IMAGE).query("tasks"))[0]["task_id"]
        ollama.script.faults.clear()
        await argue(client, "Is it so?")

        async def all_there() -> str:
            text = await scraped(port)
            there = {name for name in NAMES if f"# TYPE {name}" in text}
            return text if there >= NAMES - AFTER_A_VERDICT - AFTER_A_SAVE else ""

        text = await until(all_there)
    lines = [line for line in text.splitlines() if line.startswith("living_image_")]
    assert any(
        line.startswith("living_image_tasks_total{") and 'outcome="converged"' in line and line.endswith(" 1")
        for line in lines
    )
    assert "living_image_dissonance_bucket{" in text
    assert 'persona="ROBIN"' in text
    assert "temporal_workflow_task_execution_latency" in text
    for metric, labels in queries():
        samples = re.findall(rf"^{metric}\{{([^}}]*)\}} ", text, re.MULTILINE)
        assert samples or metric.startswith(LATER), metric
        assert all(re.search(rf'\b{label}="', sample) for label in labels for sample in samples), metric
    told = [json.loads(line) for line in worker.err.splitlines()]
    assert {"time", "level", "logger", "message"} <= set(told[0])
    [failure] = [each for each in told if "(tried 3 times)" in each["message"]]
    assert failure["message"].startswith("AnswerEmpty: ")
    assert (failure["image"], failure["task"]) == (IMAGE, failed)


async def test_an_address_that_is_taken_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with WorkerProcess(tmp_path, *dev_ports(), "--metrics", str(port)) as worker:
            assert await worker.process.wait() == 2
    assert len(worker.err.splitlines()) == 1
    assert worker.err.startswith(f"Metrics cannot be served at 127.0.0.1:{port} (")
