"""What many images in one worker cost: `python -m benchmarks.many`, about ten minutes with 1,000 images.

Their worker's memory while nothing happens, the events that this adds, and a task for each of 200 at once.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from benchmarks.bare import TASK_QUEUE, BareTask
from benchmarks.measures import Row, seconds
from benchmarks.stage import fake_ollama, show
from messages.names import task_workflow_id
from runtime.dev_server import run_dev_server
from testbed.ports import free_ports
from testbed.processes import ROOT, module_process, running
from testbed.world import exists, shipped_settings, until

NUMBERS = (10, 100, 1000)
TASKS = 200
SETTLED_SECONDS = 10.0
IDLE_SECONDS = 60.0
AT_ONCE = 20
"""Questions to the server at a time, so that asking is no load worth the name."""

AGAIN_SECONDS = 0.2

Answer = TypeVar("Answer")


def make_folders(root: Path, number: int, host: str) -> list[str]:
    """So many images below a folder; their ids."""
    template = shipped_settings(
        root,
        {
            "system.task_queue": f"many-{number}",
            "system.image_id": "THE-IMAGE",
            "models.host": host,
            "system.max_concurrent_tasks": 16,
            "system.max_queued_tasks": 500,
            "memory.recall": 0,
        },
    )
    text = template.read_text()
    names = [f"image-{number}-{each:04d}" for each in range(number)]
    for name in names:
        (root / name).mkdir()
        (root / name / "settings.toml").write_text(text.replace("THE-IMAGE", name))
    template.unlink()
    return names


@contextmanager
def worker(root: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """The worker of all images in a folder, once it says that they are awake."""
    command = [sys.executable, str(ROOT / "worker.py"), "--images", str(root)]
    environment = {**os.environ, "TEMPORAL_ADDRESS": address}
    with running(command, cwd=root, env=environment, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if b"Ctrl-C" in line:
                break
        yield process


def megabytes(process: subprocess.Popen[bytes]) -> float:
    return float(psutil.Process(process.pid).memory_info().rss) / 1e6


async def all_of(act: Callable[[str], Awaitable[Answer]], names: Sequence[str]) -> list[Answer]:
    """What an act comes to for each name, some at a time."""
    some = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> Answer:
        async with some:
            return await act(name)

    return await asyncio.gather(*map(one, names))


async def events(client: Client, names: Sequence[str]) -> int:
    async def length(name: str) -> int:
        image = client.get_workflow_handle(name)
        await until(lambda: exists(image))
        return (await image.describe()).history_length

    return sum(await all_of(length, names))


async def idle(client: Client, names: list[str], root: Path, address: str, pause: float) -> list[str]:
    """The cells of one number of images: started anew, and as the worker of images that live already."""
    cells = []
    for _ in ("begun", "found"):
        start = time.perf_counter()
        with worker(root, address) as process:
            awake = time.perf_counter() - start
            await _settled(client, names)
            before, began = await events(client, names), megabytes(process)
            used = psutil.Process(process.pid).cpu_times()
            await asyncio.sleep(pause)
            busy = psutil.Process(process.pid).cpu_times()
            added = await events(client, names) - before
            share = (busy.user + busy.system - used.user - used.system) / pause
            cells.append(
                f"{awake:.1f} s, {began:.0f} MB, {megabytes(process):.0f} MB, {added} events, "
                f"{share:.1%} of a core"
            )
    return cells


async def _settled(client: Client, names: Sequence[str]) -> None:
    """Wait until the images have done what a start makes them do."""
    before = -1
    while before != (now := await events(client, names)):
        before = now
        await asyncio.sleep(SETTLED_SECONDS)


async def burst(client: Client, names: Sequence[str]) -> tuple[float, int]:
    """A task for each of these images, all at once: seconds, and how many tasks were lost.

    A name that comes more than once has as many tasks.
    """

    # An image takes ten updates at a time, and its server is kept busy by whoever asks for more.
    handing_in = {name: asyncio.Semaphore(5) for name in names}

    async def task(number: int, name: str) -> bool:
        task_id = f"one-of-{len(set(names))}-{number}"
        message = {"task": f"Question {number}?", "task_id": task_id}
        image = client.get_workflow_handle(name)
        async with handing_in[name]:
            await _until_taken(
                lambda: image.execute_update("submit_task", message, id=task_id, result_type=dict)
            )
        dialogue = client.get_workflow_handle(task_workflow_id(name, task_id))
        try:
            await _until_taken(dialogue.result)
        except WorkflowFailureError:
            return False
        return True

    start = time.perf_counter()
    done = await asyncio.gather(*(task(number, name) for number, name in enumerate(names)))
    return time.perf_counter() - start, done.count(False)


async def _until_taken(ask: Callable[[], Awaitable[Any]]) -> None:
    """Ask again while an image takes no more at a time, continues as new, or has not begun a task."""
    while True:
        try:
            await ask()
        except RPCError:
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            return


async def bare_burst(client: Client, number: int) -> float:
    async def one(each: int) -> Any:
        handle = await client.start_workflow(
            BareTask.run, "question", id=f"bare-{number}-{each}", task_queue=TASK_QUEUE
        )
        return await handle.result()

    return await seconds(asyncio.gather(*(one(each) for each in range(number))))


async def run(numbers: Sequence[int], tasks: int, pause: float) -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        state, script = Path(folder) / "state", Path(folder) / "script.json"
        state.mkdir()
        script.write_text('{"needs_research": true}')
        async with run_dev_server(state, *free_ports()) as (server, client):
            with (
                fake_ollama(0, script) as host,
                module_process("benchmarks.bare", server.address, host, folder),
            ):
                for number in numbers:
                    root = Path(folder) / f"images-{number}"
                    root.mkdir()
                    names = make_folders(root, number, host)
                    found = [
                        Row(f"{number:,} images, {how}: awake, MB, MB after {pause:.0f} s idle", cell)
                        for how, cell in zip(
                            ("begun", "found"),
                            await idle(client, names, root, server.address, pause),
                            strict=True,
                        )
                    ]
                    rows += _told(found)
                with worker(root, server.address) as process:
                    await _settled(client, names)
                    rows += await _bursts(client, names, tasks, process, pause)
    return rows


def _told(rows: list[Row]) -> list[Row]:
    """The same rows; whoever waits for the table sees them come."""
    for row in rows:
        print(*row, sep="; ", file=sys.stderr, flush=True)
    return rows


async def _bursts(
    client: Client, names: list[str], tasks: int, process: subprocess.Popen[bytes], pause: float
) -> list[Row]:
    spread = [names[each % len(names)] for each in range(tasks)]
    several, lost = await burst(client, spread)
    print(f"{several:.1f} s, {lost} lost", file=sys.stderr, flush=True)
    after = megabytes(process)
    alone, _ = await burst(client, [names[-1]] * tasks)
    bare = await bare_burst(client, tasks)
    await asyncio.sleep(pause)
    return [
        Row(
            f"{tasks} tasks at once, one for each image: {lost} lost (bare: {tasks} bare workflows)",
            f"{several:.1f} s",
            f"{bare:.1f} s",
            f"{several / bare:.2f}",
        ),
        Row(
            "the same (bare: all of them of one image, 16 abreast)",
            f"{several:.1f} s",
            f"{alone:.1f} s",
            f"{several / alone:.2f}",
        ),
        Row(
            f"its worker thereafter, and {pause:.0f} s later", f"{after:.0f} MB, {megabytes(process):.0f} MB"
        ),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many", description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=NUMBERS, help="how many (10 100 1000)")
    parser.add_argument("--tasks", type=int, default=TASKS, help="tasks at once (200)")
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, help="seconds without any task (60)")
    arguments = parser.parse_args()
    os.environ.pop("TEMPORAL_ADDRESS", None)
    with contextlib.suppress(KeyboardInterrupt):
        show(asyncio.run(run(arguments.images, arguments.tasks, arguments.idle)))
