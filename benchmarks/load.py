"""Many tasks at once: what remembering costs them, and how long the worker's event loop ever stands still."""

import asyncio
import sqlite3
import subprocess
import time
from pathlib import Path

import anyio.to_process
from temporalio.service import RPCError

from benchmarks.measures import Bench, Row, median_ratio, remembering, seconds, spread, warm_up
from connection.places import memory_file
from testbed.processes import module_process
from testbed.world import until

TASKS = 60
PAIRS = 9
HELD_SECONDS = 3.0
"""How long another process holds the memory's file: longer than any task may wait for it."""
# Each look asks the image, which is work too.
LOOK_SECONDS = 0.2


async def load(bench: Bench) -> list[Row]:
    """Sixty tasks that ask for research, two and six abreast, with recall and without; and the stalls."""
    with module_process("benchmarks.watched", str(bench.image.file), bench.image.address) as worker:
        await warm_up(bench)
        rows = [await _recall_ratio(bench, abreast) for abreast in (2, 6)]
        return [*rows, *await _stalls(bench, worker)]


async def _recall_ratio(bench: Bench, abreast: int) -> Row:
    """With recall and without in turn, each first as often as second, for the memory grows meanwhile."""
    took: dict[bool, list[float]] = {True: [], False: []}
    for number in range(PAIRS):
        for recall in (True, False) if number % 2 else (False, True):
            await remembering(bench, recall, abreast)
            took[recall].append(await seconds(_sixty(bench, f"{abreast} {recall} {number}")))
    return Row(
        f"{TASKS} tasks of six calls of {bench.delay_ms} ms, {abreast} abreast (bare: without recall)",
        spread(took[True], "s", digits=1),
        spread(took[False], "s", digits=1),
        median_ratio(took[True], took[False]),
    )


async def _longest_stall(worker: subprocess.Popen[bytes]) -> float:
    """For how many seconds the event loop of a watched worker stood still, since this was asked before."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(b"\n")
    worker.stdin.flush()
    return float(await asyncio.to_thread(worker.stdout.readline))


async def _stalls(bench: Bench, worker: subprocess.Popen[bytes]) -> list[Row]:
    """The longest stall of the event loop: idle, under load, and while another process holds the memory."""
    await remembering(bench, True, 6)
    stalls, took = [], []
    for held in (False, True):
        await _longest_stall(worker)
        holding = asyncio.create_task(_hold(bench) if held else asyncio.sleep(0))
        took.append(await seconds(_sixty(bench, f"held {held}")))
        await holding
        stalls.append(await _longest_stall(worker))
    await _longest_stall(worker)
    await asyncio.sleep(max(took))
    idle = await _longest_stall(worker)
    return [
        Row(
            f"longest stall of the worker's event loop, 6 abreast with recall{more} (bare: idle)",
            f"{stall * 1000:.0f} ms",
            f"{idle * 1000:.0f} ms",
        )
        for stall, more in zip(stalls, ("", f", the memory held for {HELD_SECONDS:.0f} s"), strict=True)
    ] + [
        Row(
            f"{TASKS} tasks, the memory held for {HELD_SECONDS:.0f} s meanwhile (bare: not held)",
            f"{took[1]:.1f} s",
            f"{took[0]:.1f} s",
            f"{took[1] / took[0]:.2f}",
        )
    ]


async def _sixty(bench: Bench, name: str) -> None:
    for number in range(TASKS):
        task = {"task": f"Question {number} of {name}?", "task_id": f"{name}-{number}".replace(" ", "-")}
        try:
            await bench.image.submit(**task)
        except RPCError:  # the image was about to continue as new
            await bench.image.submit(**task)
    while (status := await bench.image.status()).queued + status.running:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_SECONDS)


async def _hold(bench: Bench) -> None:
    memory = memory_file(bench.image.file.parent / ".state")
    await until(lambda: asyncio.to_thread(memory.exists))
    await anyio.to_process.run_sync(_write_slowly, memory)


def _write_slowly(memory: Path) -> None:
    """As a database browser with an unsaved change."""
    other = sqlite3.connect(memory, isolation_level=None, timeout=60)
    other.execute("BEGIN EXCLUSIVE")
    time.sleep(HELD_SECONDS)
    other.execute("ROLLBACK")
    other.close()
