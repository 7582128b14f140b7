"""A cluster under load: the workers of the compose file as processes, one image for all of them."""

import asyncio
import json
import shutil
import signal
import subprocess
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from activities.snapshots.format import read
from configuration import Value
from connection.server import target
from messages.tasks import DialogueResult, TaskReceipt
from testbed.fake_ollama import FakeOllama
from testbed.world import Image, exists, until
from tests.approval import assert_changed_once, sending_approval
from tests.cluster import SERVICES, BuiltImage, build
from tests.killing import asking_again
from tests.runtime.worker_process import WorkerProcess

pytestmark = pytest.mark.timeout(900)
TASKS = 24
SLOTS = 2
"""Model calls at the same time in one worker."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    """What `docker build` would make."""
    return build(tmp_path_factory.mktemp("image"))


class Cluster(Image):
    """An image whose workers are the services of the compose file."""

    def __init__(self, client: Client, ollama: FakeOllama, folder: Path, built: BuiltImage) -> None:
        self.settings_folder = folder / "settings"
        self.settings_folder.mkdir()
        busy: dict[str, Value] = {
            "system.max_concurrent_tasks": 8,
            "models.max_concurrent_calls": SLOTS,
            "models.host": "",
            "cadence.min_logs": 100,
        }
        super().__init__(asking_again(client), ollama.url, self.settings_folder, busy)
        self.ollama = ollama
        self._folder = folder
        self._built = built
        self._variables = {
            "TEMPORAL_ADDRESS": target(client),
            "TEMPORAL_NAMESPACE": client.namespace,
            "OLLAMA_HOST": ollama.url,
            "LIVING_IMAGE_TASK_QUEUE": self.name,
            "LIVING_IMAGE_KEY": "secret",
            "LIVING_IMAGE_METRICS": "127.0.0.1:0",
        }

    def service(self, service: str, name: str) -> WorkerProcess:
        own = self._folder / name
        own.mkdir()
        return self._built.worker(service, own, self.settings_folder, self._variables)

    async def desk(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`docker compose run --rm desk ...`, without Docker."""
        assert SERVICES["desk"]["working_dir"] == "/settings"
        program = self._built.command("desk", self.settings_folder, self._variables)[:-1]
        return await self._run("desk", [*program, *arguments], self.settings_folder)

    async def health(self, service: str) -> subprocess.CompletedProcess[str]:
        command = self._built.healthcheck(service, self.settings_folder, self._variables)
        return await self._run(service, command, self._built.app)

    async def _run(self, service: str, command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        environment = self._built.environment(service, self._folder, self._variables)
        return await asyncio.to_thread(
            subprocess.run, command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )

    # --- load ---

    async def submit_many(self, count: int = TASKS) -> list[TaskReceipt]:
        return [await self.submit(f"Question {number:02} of this image?") for number in range(count)]

    async def until_answers_are_awaited(self, count: int) -> None:
        """Hold the answers back until so many calls wait for theirs at once."""
        self.ollama.answering.clear()
        await self.ollama.until(lambda: self.open_calls() >= count, 60)

    async def until_each_has_answered(self, receipts: list[TaskReceipt], *workers: WorkerProcess) -> None:
        """Wait until an answer of each of these workers stands in the record."""

        async def all_have() -> bool:
            begun = [
                each for each in receipts if await exists(self.client.get_workflow_handle(each.workflow_id))
            ]
            return await self.identities(begun) >= {worker.process.pid for worker in workers}

        await until(all_have)

    def open_calls(self) -> int:
        return sum(call.outcome == "answering" for call in self.ollama.calls)

    async def results(self, receipts: list[TaskReceipt]) -> list[DialogueResult]:
        return await asyncio.gather(*(self.result(receipt) for receipt in receipts))

    # --- the record ---

    async def starts(self, receipt: TaskReceipt) -> list[Any]:
        """The starts of activities that a dialogue's history holds: only the last attempt of each."""
        handle = self.client.get_workflow_handle(receipt.workflow_id)
        kind = EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
        return [
            event.activity_task_started_event_attributes
            async for event in handle.fetch_history_events()
            if event.event_type == kind
        ]

    async def attempts(self, receipts: list[TaskReceipt]) -> Counter[int]:
        """How many activities of these tasks took how many attempts."""
        started = [start for receipt in receipts for start in await self.starts(receipt)]
        return Counter(start.attempt for start in started)

    async def identities(self, receipts: list[TaskReceipt]) -> set[int]:
        """The process ids of the workers whose answers stand in the record."""
        started = [start for receipt in receipts for start in await self.starts(receipt)]
        return {int(start.identity.split("@")[0]) for start in started}

    async def assert_each_done_once(self, receipts: list[TaskReceipt]) -> None:
        results = await self.results(receipts)
        assert [result.task_id for result in results] == [receipt.task_id for receipt in receipts]
        assert {result.outcome for result in results} == {"max_turns"}

        async def told() -> bool:
            state = await self.state()
            return not state.running and not state.queue

        await until(told)
        state = await self.state()
        ids = {receipt.task_id for receipt in receipts}
        logged = [task_id for task_id in state.seen_logs if task_id in ids]
        assert (state.finished_count, state.failed_count) == (len(receipts), 0)
        assert Counter(logged) == Counter(ids)
        told_by = [
            event.workflow_execution_signaled_event_attributes.identity
            async for event in self.image.fetch_history_events()
            if event.workflow_execution_signaled_event_attributes.signal_name == "task_completed"
        ]
        assert len(told_by) == len(receipts)
        # Every turn is in the record once: its three calls, the plan and the synthesis.
        for receipt, result in zip(receipts, results, strict=True):
            assert len(await self.starts(receipt)) == 2 + 3 * result.log.turn_count


@pytest.fixture
def cluster(client: Client, ollama: FakeOllama, tmp_path: Path, built: BuiltImage) -> Cluster:
    ollama.script.labels = ["opposite"]
    return Cluster(client, ollama, tmp_path, built)


async def test_a_compute_worker_killed_under_load_loses_nothing_and_nothing_is_done_twice(
    cluster: Cluster,
) -> None:
    assert (await cluster.health("compute")).returncode == 1
    async with (
        cluster.service("files", "files") as files,
        cluster.service("compute", "compute 1") as doomed,
        cluster.service("compute", "compute 2") as other,
    ):
        for worker in (files, doomed, other):
            await worker.awake()
        started = await cluster.desk("start")
        assert started.returncode == 0, started.stderr
        for service in ("files", "compute"):
            healthy = await cluster.health(service)
            assert healthy.returncode == 0, healthy.stderr

        view = await cluster.pending_proposal()
        receipts = await cluster.submit_many()
        await cluster.until_each_has_answered(receipts[:8], doomed, other)
        # More calls than one worker makes at a time: some of those that wait are the doomed one's.
        await cluster.until_answers_are_awaited(SLOTS + 1)
        approval = await sending_approval(cluster, view)
        await doomed.stop(signal.SIGKILL)
        cluster.ollama.answering.set()

        assert (await approval).state == "approved"
        await cluster.assert_each_done_once(receipts)
        await assert_changed_once(cluster)
        status = await cluster.desk("status")
        assert status.returncode == 0, status.stderr
        assert await cluster.identities(receipts) == {doomed.process.pid, other.process.pid}

        attempts = await cluster.attempts(receipts)
        again = sum(count * (attempt - 1) for attempt, count in attempts.items())
        asked = [(call.system, call.user) for call in cluster.ollama.calls]
        # What was asked twice was asked by an attempt whose worker died, and by no other.
        assert 1 <= len(asked) - len(set(asked)) <= again
        for worker in (files, other):
            assert "Traceback" not in worker.err


async def test_the_desk_looks_the_cluster_over_saves_the_image_and_brings_it_back(cluster: Cluster) -> None:
    async with cluster.service("files", "files") as files, cluster.service("compute", "compute") as compute:
        for worker in (files, compute):
            await worker.awake()
        assert (await cluster.desk("start")).returncode == 0
        asked = await cluster.desk("ask", "Should a town plant trees?", "--task-id", "trees", "--follow")
        assert asked.returncode == 0, asked.stderr
        assert "BRICK" in asked.stdout
        examined = json.loads((await cluster.desk("doctor", "--json")).stdout)
        assert {
            finding["check"]: finding for finding in examined["findings"] if finding["state"] == "broken"
        } == {}
        assert examined["not_checked"] == {}
        path = json.loads((await cluster.desk("snapshot", "--json")).stdout)["path"]
        assert read(await asyncio.to_thread(Path(path).read_bytes), b"secret").header.signed

        await cluster.image.terminate()
        cluster.edit({"autopoiesis.max_turns": 5})
        shutil.rmtree(cluster.settings_folder / ".state")
        restored = await cluster.desk("restore", path, "--yes")
        assert restored.returncode == 0, restored.stderr
        assert cluster.on_file() == (await cluster.state()).settings
        assert (await cluster.status()).finished == 1
        found = await cluster.desk("memory", "search", "trees", "--json")
        assert [item["task_id"] for item in json.loads(found.stdout)["items"]] == ["trees"]


async def test_sigterm_under_load_ends_with_the_running_calls_done_and_takes_no_new_ones(
    cluster: Cluster,
) -> None:
    await cluster.start()
    async with (
        cluster.service("files", "files"),
        cluster.service("compute", "compute 1") as leaving,
        cluster.service("compute", "compute 2") as staying,
    ):
        for worker in (leaving, staying):
            await worker.awake()
        receipts = await cluster.submit_many()
        await cluster.until_answers_are_awaited(SLOTS + 1)
        leaving.process.send_signal(signal.SIGTERM)
        await leaving.says("Stopping ...")
        cluster.ollama.answering.set()
        assert await leaving.process.wait() == 0
        gone_at = len(cluster.ollama.calls)
        await cluster.assert_each_done_once(receipts)
        assert len(cluster.ollama.calls) > gone_at
        assert await cluster.identities(receipts) == {leaving.process.pid, staying.process.pid}
        # Each call was begun once: what the leaving worker had begun it brought to its end.
        assert (await cluster.attempts(receipts)).keys() == {1}
        assert "Traceback" not in leaving.err + staying.err


async def test_sigterm_does_not_wait_for_calls_that_take_too_long_and_another_worker_makes_them(
    cluster: Cluster,
) -> None:
    await cluster.start()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(cluster.service("files", "files"))
        leaving = await stack.enter_async_context(cluster.service("compute", "compute 1"))
        await leaving.awake()
        receipts = await cluster.submit_many(4)
        await cluster.until_answers_are_awaited(SLOTS)
        assert await leaving.stop(signal.SIGTERM) == 0
        assert "Traceback" not in leaving.err
        await cluster.ollama.until(lambda: cluster.open_calls() == 0, 60)
        cluster.ollama.answering.set()
        await stack.enter_async_context(cluster.service("compute", "compute 2"))
        await cluster.assert_each_done_once(receipts)
        assert max(await cluster.attempts(receipts)) > 1


async def test_a_files_worker_stopped_while_an_approval_is_carried_out_changes_the_file_once(
    cluster: Cluster,
) -> None:
    await cluster.start()
    async with cluster.service("compute", "compute") as compute:
        await compute.awake()
        async with cluster.service("files", "files 1") as leaving:
            await leaving.awake()
            receipts = await cluster.submit_many(8)
            view = await cluster.pending_proposal()
            approval = await sending_approval(cluster, view)
            assert await leaving.stop(signal.SIGTERM) == 0
            assert "Traceback" not in leaving.err
        async with cluster.service("files", "files 2"):
            assert (await approval).state == "approved"
            await cluster.assert_each_done_once(receipts)
            await assert_changed_once(cluster)
