"""What Prometheus finds at a worker: the metrics that messages/metrics.py names, and Temporal's own."""

import asyncio
import json
import os
import re
import socket
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import which

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
HERE = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
PROMETHEUS = which("prometheus", path=HERE)
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
    async with httpx.AsyncClient(timeout=60) as client:
        return (await client.get(f"http://127.0.0.1:{port}/metrics")).text


async def two_tasks(worker: WorkerProcess, ollama: FakeOllama) -> str:
    """One that fails and one that converges; the id of the first."""
    await worker.awake()
    client = await connect(worker.server.address)
    ollama.fail("empty", times=9, asks="text")
    with pytest.raises(WorkflowFailureError):
        await argue(client, "Is it not?")
    failed = (await client.get_workflow_handle(IMAGE).query("tasks"))[0]["task_id"]
    ollama.script.faults.clear()
    await argue(client, "Is it so?")
    return str(failed)


async def all_there(port: int) -> str:
    text = await scraped(port)
    there = {name for name in NAMES if f"# TYPE {name}" in text}
    asked_for = {metric for metric, _ in queries() if not metric.startswith(LATER)}
    measured = {metric for metric in asked_for if samples_of(metric, text)}
    return text if there >= NAMES - AFTER_A_VERDICT - AFTER_A_SAVE and measured == asked_for else ""


def samples_of(metric: str, text: str) -> list[str]:
    """The labels of each sample of a metric."""
    return re.findall(rf"^{metric}\{{([^}}]*)\}} ", text, re.MULTILINE)


@pytest.mark.timeout(600)
async def test_tasks_are_measured_from_the_queue_to_the_tokens_and_logged_as_objects(
    ollama: FakeOllama, tmp_path: Path
) -> None:
    port = free_port()
    options = (*dev_ports(), "--metrics", str(port), "--log-json")
    async with WorkerProcess(tmp_path, *options, OLLAMA_HOST=ollama.url) as worker:
        failed = await two_tasks(worker, ollama)
        text = await until(lambda: all_there(port), 120)
    lines = [line for line in text.splitlines() if line.startswith("living_image_")]
    assert any(
        line.startswith("living_image_tasks_total{") and 'outcome="converged"' in line and line.endswith(" 1")
        for line in lines
    )
    assert "living_image_dissonance_bucket{" in text
    assert 'persona="ROBIN"' in text
    assert "temporal_workflow_task_execution_latency" in text
    for metric, labels in queries():
        samples = samples_of(metric, text)
        assert all(re.search(rf'\b{label}="', sample) for label in labels for sample in samples), metric
    told = [json.loads(line) for line in worker.err.splitlines()]
    assert {"time", "level", "logger", "message"} <= set(told[0])
    [failure] = [each for each in told if "(tried 3 times)" in each["message"]]
    assert failure["message"].startswith("AnswerEmpty: ")
    assert (failure["image"], failure["task"]) == (IMAGE, failed)


@asynccontextmanager
async def prometheus(folder: Path, target: int) -> AsyncIterator[httpx.AsyncClient]:
    """Prometheus, which scrapes a worker as often as the answers of the test can wait for."""
    job = {"job_name": "living-image", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    listening = f"127.0.0.1:{free_port()}"
    options = (f"--web.listen-address={listening}", f"--storage.tsdb.path={folder / 'tsdb'}")
    process = await asyncio.create_subprocess_exec(
        str(PROMETHEUS),
        f"--config.file={folder / 'prometheus.yml'}",
        *options,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://{listening}/api/v1", timeout=60) as client:
            yield client
    finally:
        process.kill()
        await process.wait()


@pytest.mark.timeout(600)
@pytest.mark.skipif(PROMETHEUS is None, reason="needs Prometheus")
async def test_prometheus_has_an_answer_to_every_query_of_the_dashboard(
    ollama: FakeOllama, tmp_path: Path
) -> None:
    port = free_port()
    asked = {target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]}
    worker = WorkerProcess(tmp_path, *dev_ports(), "--metrics", str(port), OLLAMA_HOST=ollama.url)
    async with worker, prometheus(tmp_path, port) as client:

        async def unanswered() -> set[str]:
            found = set()
            for query in asked:
                answer = await client.get("/query", params={"query": query.replace("$image", ".*")})
                assert answer.json()["status"] == "success", answer.text
                found |= set() if answer.json()["data"]["result"] else {query}
            return found

        await two_tasks(worker, ollama)
        await until(lambda: all_there(port), 120)

        async def answered() -> bool:
            return all(query.startswith(("sum by (verdict)", *LATER)) for query in await unanswered())

        await until(answered, 120)


async def test_an_address_that_is_taken_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with WorkerProcess(tmp_path, *dev_ports(), "--metrics", str(port)) as worker:
            assert await worker.process.wait() == 2
    assert len(worker.err.splitlines()) == 1
    assert worker.err.startswith(f"Metrics cannot be served at 127.0.0.1:{port} (")
