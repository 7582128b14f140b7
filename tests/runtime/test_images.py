"""One worker hosts every image that has a folder: each with its own file, and whatever comes later."""

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from configuration import Value
from connection.server import target
from messages.files import SnapshotReceipt
from messages.names import files_queue
from testbed.fake_ollama import FakeOllama
from testbed.world import Image, exists, until
from tests.runtime.worker_process import WorkerProcess


class Folder:
    """A folder of images, all on one task queue, and the worker of them."""

    def __init__(self, client: Client, ollama: FakeOllama, base: Path) -> None:
        self.client, self.ollama, self.base = client, ollama, base
        self.root = base / "images"
        self.root.mkdir()
        self.queue = f"many-{os.urandom(5).hex()}"

    def image(self, name: str, settings: Mapping[str, Value] | None = None) -> Image:
        """A new image, whose folder appears as a whole."""
        made = self.base / name
        made.mkdir()
        image = Image(
            self.client, self.ollama.url, made, {"system.task_queue": self.queue, **(settings or {})}
        )
        image.file = made.replace(self.root / name) / "settings.toml"
        return image

    def worker(self, *arguments: str) -> WorkerProcess:
        return WorkerProcess(
            self.base,
            *("--images", str(self.root), *arguments),
            OLLAMA_HOST=self.ollama.url,
            TEMPORAL_ADDRESS=target(self.client),
        )

    async def awake(self, image: Image) -> None:
        await until(lambda: exists(image.image))


@pytest.fixture
def folder(client: Client, ollama: FakeOllama, tmp_path: Path) -> Folder:
    return Folder(client, ollama, tmp_path)


async def test_tasks_amendments_and_snapshots_of_two_images_land_in_their_own_folders_even_after_a_kill(
    folder: Folder,
) -> None:
    one, two = folder.image("one"), folder.image("two", {"autopoiesis.max_turns": 4})
    untouched = two.file.read_text()
    async with folder.worker() as worker:
        await worker.awake()
        assert "2 images of images" in worker.out
        assert f"--settings {Path('images') / 'one' / 'settings.toml'}" in worker.out
        results = await asyncio.gather(one.ask("Trees or roofs?"), two.ask("Hedges or walls?"))
        assert [result.outcome for result in results] == ["converged", "converged"]

        first, second = await asyncio.gather(one.pending_proposal(), two.pending_proposal())
        assert (await one.decide(first.loop_id)).state == "approved"
        assert one.on_file().autopoiesis.max_turns == 3
        assert two.file.read_text() == untouched
        await one.loops_concluded()
        await asyncio.gather(*(until(partial(_idles, image)) for image in (one, two)))
        await worker.stop(signal.SIGKILL)

    async with folder.worker() as worker:
        await worker.awake()
        assert (await two.decide(second.loop_id)).state == "approved"
        assert (one.on_file().autopoiesis.max_turns, two.on_file().autopoiesis.max_turns) == (3, 5)
        for image in (one, two):
            saved = await image.update("save_image", None, SnapshotReceipt)
            assert Path(saved.path).parent == image.file.parent / "snapshots"
            assert (await image.status()).finished == 1
        assert await worker.stop() == 0
        assert worker.err.count("\n") == 1, worker.err  # "Stopping ..."


async def test_whatever_becomes_of_folders_the_others_are_hosted_and_one_sentence_says_what_is_not(
    folder: Folder,
) -> None:
    one = folder.image("one")
    twin = folder.image("twin", {"system.image_id": one.name})
    lost = folder.image("lost", {"system.task_queue": "elsewhere"})
    (folder.root / "notes").mkdir()
    async with folder.worker("--task-queue", folder.queue) as worker:
        await worker.awake()
        assert "1 image of images" in worker.out
        assert f'twin is not hosted: [system] image_id = "{one.name}" is the image in one' in worker.err
        assert 'lost is not hosted: [system] task_queue = "elsewhere", and this worker' in worker.err
        assert len(worker.err.splitlines()) == 2

        new, broken = folder.image("new"), folder.image("broken", {"memory.recall": 99})
        await folder.awake(new)
        await worker.says("broken is not hosted")
        assert "[memory] recall = 99" in worker.err
        assert (await new.ask("Trees or roofs?")).outcome == "converged"

        twin.name = f"{one.name}-2"
        twin.edit({"system.image_id": twin.name})
        broken.edit({"memory.recall": 3})
        lost.edit({"system.task_queue": folder.queue})
        for mended in (twin, broken, lost):
            await folder.awake(mended)

        new.edit({"autopoiesis.max_turns": 7})
        one.edit({"autopoiesis.max_turns": 99})
        shutil.rmtree(lost.file.parent)
        await until(lambda: _holds(new, 7))
        await until(lambda: _problem(one))
        await worker.says(f"{lost.name} is hosted no more")
        assert (await lost.status()).phase == "active"
        assert await worker.stop() == 0
        assert "Traceback" not in worker.err


async def _holds(image: Image, max_turns: int) -> bool:
    return (await image.state()).settings.autopoiesis.max_turns == max_turns


async def _problem(image: Image) -> str:
    return (await image.status()).settings_problem


async def test_images_that_live_are_found_without_an_event_and_one_that_was_retired_stays_so(
    folder: Folder,
) -> None:
    one, retired = folder.image("one"), folder.image("retired")
    async with folder.worker() as worker:
        await worker.awake()
        await retired.update("retire", {}, dict)
        await retired.image.result()
        await until(lambda: _idles(one))
        before = await _length(one)
        await worker.stop(signal.SIGKILL)

    one.file.touch()
    async with folder.worker() as worker:
        await worker.awake()
        assert f"{retired.name} has ended and is not begun anew" in worker.err
        later = folder.image("later")
        await folder.awake(later)  # which is attended to after the others
        assert (await later.ask("Trees or roofs?")).outcome == "converged"
        assert await _length(one) == before
        one.edit({"autopoiesis.max_turns": 6})
        await until(lambda: _holds(one, 6))
        assert await worker.stop() == 0


async def _length(image: Image) -> int:
    return (await image.image.describe()).history_length


async def _idles(image: Image) -> bool:
    """Whether no worker has anything to do for it; what a killed one had, another gets 10 s later."""
    info = (await image.image.describe()).raw_description
    return not info.HasField("pending_workflow_task")


@workflow.defn
class Ordering:
    """A workflow of any name that gives one order to the files worker."""

    @workflow.run
    async def run(self, name: str, order: Any, queue: str) -> Any:
        return await workflow.execute_activity(
            name,
            order,
            task_queue=queue,
            start_to_close_timeout=timedelta(seconds=60),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


async def test_no_workflow_of_an_image_reaches_the_folder_of_another(folder: Folder) -> None:
    mine, other = folder.image("mine"), folder.image("other")
    untouched = other.file.read_text()

    async def order(by: str, name: str, what: dict[str, Any]) -> Any:
        return await folder.client.execute_workflow(
            Ordering.run,
            args=[name, what, files_queue(folder.queue)],
            id=by,
            task_queue=f"{folder.queue}-test",
        )

    async def refused(by: str, name: str, what: dict[str, Any]) -> str:
        with pytest.raises(WorkflowFailureError) as failure:
            await order(by, name, what)
        return str(failure.value.cause.__cause__)

    rewrite = {
        "loop_id": f"{other.name}/loop/1",
        "changes": [{"key": "autopoiesis.max_turns", "old": 2, "new": 3}],
        "by_person": True,
    }
    snapshot = {"image_id": other.name, "place": "snapshots", "keep": 1, "generation": 1}
    ordering = Worker(
        folder.client,
        task_queue=f"{folder.queue}-test",
        workflows=[Ordering],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with folder.worker() as worker, ordering:
        await worker.awake()
        await order(f"{mine.name}/loop/98", "rewrite_settings", rewrite)
        assert mine.on_file().autopoiesis.max_turns == 3
        assert "nobody" in await refused("nobody/loop/1", "rewrite_settings", rewrite)
        told = await refused(f"{mine.name}/loop/99", "write_snapshot", snapshot)
        assert f"{mine.name} may save itself, and not {other.name}" in told
        for place in ("../other", str(other.file.parent), "file://" + str(other.file.parent), "memory://x"):
            with pytest.raises(WorkflowUpdateFailedError) as failure:
                await mine.update("save_image", {"path": place}, SnapshotReceipt)
            assert "kept apart" in str(failure.value.cause)
        (mine.file.parent / "link").symlink_to(other.file.parent)
        with pytest.raises(WorkflowUpdateFailedError):
            await mine.update("save_image", {"path": "link"}, SnapshotReceipt)
        assert [path.name for path in other.file.parent.iterdir()] == ["settings.toml"]
        assert other.file.read_text() == untouched
        assert await worker.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--images", ".", "--settings", "settings.toml"], "--settings one file"),
        (["--images", ".", "--role", "compute"], "--images is for a worker that handles files"),
        (["--images", ".", "--door"], "--door is for"),
        (["--images", "nowhere"], "nowhere is no folder of images (No such file or directory)"),
    ],
)
async def test_what_makes_no_sense_with_images_is_refused(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    async with WorkerProcess(tmp_path, *arguments) as worker:
        assert await worker.process.wait() == 2
        [sentence] = worker.err.splitlines()
        assert told in sentence
