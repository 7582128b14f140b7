"""What a large snapshot costs: the bytes it writes a second, and the updates that come meanwhile."""

import asyncio
import os
import random
import statistics
import time
from pathlib import Path

import anyio.to_process

from activities.memory.store import MemoryStore, entries_of
from benchmarks.measures import Bench, Row, seconds
from messages.files import SnapshotReceipt
from messages.image import ImageStatus
from runtime.places import memory_file

SNAPSHOT_BYTES = 200_000_000
SYNTHESIS_BYTES = 15_000
WORDS = [f"word{number}" for number in range(1000)]
UPDATES = 300
# One run of a workflow takes 2,000 updates, and it cannot continue as new while it saves.
PAUSE_SECONDS = 0.05


async def large_snapshot(bench: Bench) -> list[Row]:
    """A snapshot of 200 MB, most of it memories, against a plain dill.dump of the same memories."""
    memory = memory_file(bench.world.file.parent / ".state")
    await asyncio.to_thread(_fill, memory, bench.world.name)
    with bench.worker():
        without = []
        for _ in range(UPDATES):
            without.append(await seconds(_update(bench)))
            await asyncio.sleep(PAUSE_SECONDS)
        start = time.perf_counter()
        saving = asyncio.create_task(bench.world.update("save_image", None, SnapshotReceipt))
        meanwhile = []
        while not saving.done():
            meanwhile.append(await seconds(_update(bench)))
            await asyncio.sleep(PAUSE_SECONDS)
        receipt = await saving
        took = time.perf_counter() - start
    plain = bench.world.file.parent / "plain.dill"
    plain_took = await anyio.to_process.run_sync(_dump_plainly, memory, bench.world.name, plain)
    ours, theirs = receipt.bytes / took, plain.stat().st_size / plain_took
    plain.unlink()
    return [
        Row(
            f"a snapshot of {receipt.bytes / 1e6:.0f} MB, saved (bare: dill.dump and fsync)",
            f"{ours / 1e6:.1f} MB/s",
            f"{theirs / 1e6:.1f} MB/s",
            f"{ours / theirs:.2f}",
        ),
        Row(
            f"p99 of {len(meanwhile)} updates while it is saved (bare: of {len(without)} without)",
            f"{_p99(meanwhile) * 1000:.0f} ms",
            f"{_p99(without) * 1000:.0f} ms",
            f"{_p99(meanwhile) / _p99(without):.2f}",
        ),
    ]


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


async def _update(bench: Bench) -> None:
    await bench.world.update("resume", None, ImageStatus)


def _dump_plainly(memory: Path, image_id: str, file: Path) -> float:
    """The baseline, in a process of its own as well: read the memories, dill.dump, fsync. Seconds."""
    import dill  # noqa: PLC0415 (it needs a __main__, which a process of anyio's gets only after its imports)

    start = time.perf_counter()
    with file.open("wb") as target:
        dill.dump(entries_of(memory, image_id), target)
        target.flush()
        os.fsync(target.fileno())
    return time.perf_counter() - start


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]
