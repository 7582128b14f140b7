"""What a large snapshot costs: the bytes it writes a second, and the updates that come meanwhile.

`python -m benchmarks.snapshots`
"""

import asyncio
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_process
import psutil

from activities.memory.store import MemoryStore, entries_of
from benchmarks.measures import Bench, Row, compared, median_ratio, percentile, seconds, spread
from benchmarks.stage import run_alone
from connection.places import memory_file
from messages.files import SnapshotReceipt
from messages.image import ImageStatus

SNAPSHOT_BYTES = 200_000_000
SYNTHESIS_BYTES = 15_000
WORDS = [f"word{number}" for number in range(1000)]
RUNS, SAVES = 5, 4
"""Saves of one run: updates enough for a slowest hundredth."""
# One run of a workflow takes 2,000 updates, and it cannot continue as new while it saves.
PAUSE_SECONDS = 0.05


@dataclass
class Run:
    """Some saves with updates meanwhile. `read`: bytes that the worker read for each. Times in seconds."""

    size: int = 0
    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)
    meanwhile: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)


async def large_snapshot(bench: Bench) -> list[Row]:
    """Snapshots of 200 MB, most of it memories, against a plain dill.dump of the same memories, in turn."""
    memory = memory_file(bench.image.file.parent / ".state")
    await asyncio.to_thread(_fill, memory, bench.image.name)
    with bench.worker() as worker:
        await _update(bench)
        runs = [await _run(bench, memory, psutil.Process(worker.pid)) for _ in range(min(bench.rounds, RUNS))]
    ours, bare = [rate for run in runs for rate in run.ours], [rate for run in runs for rate in run.bare]
    read = spread([read for run in runs for read in run.read], "MB", 1e-6)
    return [
        Row(
            f"a snapshot of {runs[-1].size / 1e6:.0f} MB, saved (bare: dill.dump and fsync)",
            spread(ours, "MB/s", 1e-6),
            spread(bare, "MB/s", 1e-6),
            median_ratio(ours, bare),
        ),
        Row("what a worker reads for it: the memory, and what it has just written", read),
        *(_updates(name, share, runs) for name, share in (("p99", 99), ("median", 50))),
    ]


async def _run(bench: Bench, memory: Path, worker: psutil.Process) -> Run:
    run, plain = Run(), bench.image.file.parent / "plain.dill"
    for _ in range(SAVES):
        before = _read_by(worker)
        saving = asyncio.create_task(_save(bench))
        run.meanwhile.append(await _update(bench))
        while not saving.done():
            run.meanwhile.append(await _update(bench))
        run.size, took = await saving
        run.ours.append(run.size / took)
        run.read.append(_read_by(worker) - before)
        # As many without a save, so that the slowest hundredth means the same on both sides.
        while len(run.without) < len(run.meanwhile):
            run.without.append(await _update(bench))
        took = await anyio.to_process.run_sync(_dump_plainly, memory, bench.image.name, plain)
        run.bare.append(plain.stat().st_size / took)
    plain.unlink()
    return run


def _updates(name: str, share: int, runs: list[Run]) -> Row:
    meanwhile, without = (
        [percentile(times, share) for times in told]
        for told in ([run.meanwhile for run in runs], [run.without for run in runs])
    )
    what = f"{name} of some {len(runs[0].meanwhile)} updates while it is saved, {len(runs)} runs"
    return compared(f"{what} (bare: as many without)", meanwhile, without)


def _read_by(worker: psutil.Process) -> int:
    """All bytes that a process and its children have read, from the disk or not."""
    return sum(int(each.io_counters().read_chars) for each in (worker, *worker.children(recursive=True)))


async def _save(bench: Bench) -> tuple[int, float]:
    """The bytes of a snapshot of the image as it has just changed, and its seconds."""
    await bench.image.record_logs(1)
    start = time.perf_counter()
    receipt = await bench.image.update("save_image", None, SnapshotReceipt)
    return receipt.bytes, time.perf_counter() - start


async def _update(bench: Bench) -> float:
    """The seconds of an update, after a pause."""
    await asyncio.sleep(PAUSE_SECONDS)
    return await seconds(bench.image.update("resume", None, ImageStatus))


def _fill(memory: Path, image_id: str) -> None:
    """Remember so many long syntheses that their texts alone make up the snapshot."""
    words = random.Random(1)
    memory.parent.mkdir(exist_ok=True)
    store = MemoryStore(memory)
    for batch in range(SNAPSHOT_BYTES // SYNTHESIS_BYTES // 100):
        store.add(
            {
                "image_id": image_id,
                "task_id": f"task-{batch}-{number}",
                "task": "Is it so?",
                "synthesis": " ".join(words.choices(WORDS, k=SYNTHESIS_BYTES // 8))[:SYNTHESIS_BYTES],
                "finished_at": "2026-01-01T12:00:00+00:00",
            }
            for number in range(100)
        )


def _dump_plainly(memory: Path, image_id: str, file: Path) -> float:
    """The baseline, in a process of its own as well: read the memories, dill.dump, fsync. Seconds."""
    import dill  # noqa: PLC0415 (it needs a __main__, which a process of anyio's gets only after its imports)

    start = time.perf_counter()
    with file.open("wb") as target:
        dill.dump(entries_of(memory, image_id), target)
        target.flush()
        os.fsync(target.fileno())
    return time.perf_counter() - start


if __name__ == "__main__":
    run_alone(large_snapshot, __doc__, rounds=RUNS)
