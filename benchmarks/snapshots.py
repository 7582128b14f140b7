"""What a large snapshot costs: the bytes it writes a second, and the updates that come meanwhile."""

import asyncio
import os
import random
import statistics
import time
from functools import partial
from pathlib import Path

import anyio.to_process

from activities.memory.store import MemoryStore, entries_of
from benchmarks.measures import Bench, Row, median_ratio, percentile, seconds, spread
from connection.places import memory_file
from messages.files import SnapshotReceipt
from messages.image import ImageStatus

SNAPSHOT_BYTES = 200_000_000
SYNTHESIS_BYTES = 15_000
WORDS = [f"word{number}" for number in range(1000)]
SAVES = 6
# One run of a workflow takes 2,000 updates, and it cannot continue as new while it saves.
PAUSE_SECONDS = 0.05


async def large_snapshot(bench: Bench) -> list[Row]:
    """Snapshots of 200 MB, most of it memories, against a plain dill.dump of the same memories, in turn."""
    memory = memory_file(bench.image.file.parent / ".state")
    await asyncio.to_thread(_fill, memory, bench.image.name)
    plain = bench.image.file.parent / "plain.dill"
    ours, theirs, without, meanwhile = [], [], [], []
    with bench.worker():
        await _update(bench)
        for _ in range(SAVES):
            saving = asyncio.create_task(_save(bench))
            updates = [await _update(bench)]
            while not saving.done():
                updates.append(await _update(bench))
            size, took = await saving
            ours.append(size / took)
            meanwhile += updates
            # As many without a save, so that the slowest hundredth means the same on both sides.
            without += [await _update(bench) for _ in updates]
            took = await anyio.to_process.run_sync(_dump_plainly, memory, bench.image.name, plain)
            theirs.append(plain.stat().st_size / took)
    plain.unlink()
    return [
        Row(
            f"a snapshot of {size / 1e6:.0f} MB, saved (bare: dill.dump and fsync)",
            spread(ours, "MB/s", 1e-6),
            spread(theirs, "MB/s", 1e-6),
            median_ratio(ours, theirs),
        ),
        *(
            Row(
                f"{name} of {len(meanwhile)} updates while it is saved (bare: as many without)",
                f"{figure(meanwhile) * 1000:.0f} ms",
                f"{figure(without) * 1000:.0f} ms",
                f"{figure(meanwhile) / figure(without):.2f}",
            )
            for name, figure in (("p99", partial(percentile, share=99)), ("median", statistics.median))
        ),
    ]


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
