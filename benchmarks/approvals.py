"""From an approval to the rewritten settings.toml, beside a bare update and activity that write a file.

`python -m benchmarks.approvals`
"""

import asyncio
import time
from collections.abc import Awaitable
from pathlib import Path

from benchmarks.bare import FILE, TASK_QUEUE, BareEntity
from benchmarks.measures import Bench, Row, median_ratio, milliseconds, percentile
from benchmarks.stage import run_alone

TIMES_A_ROUND = 10
LOOK_SECONDS = 0.0005
BARE = {
    "an update, a file written and synced": BareEntity.decide,
    "the same on a queue of its own": BareEntity.decide_elsewhere,
}


async def approval_to_file(bench: Bench) -> list[Row]:
    """Ours and both baselines in turn, until so many that the slowest hundredth means something."""
    image = bench.image
    entity = await image.client.start_workflow(BareEntity.run, id="file", task_queue=TASK_QUEUE)
    file = image.file.parent / FILE
    await entity.execute_update(BareEntity.decide, "")
    times: dict[str, list[float]] = {name: [] for name in ("ours", *BARE)}
    with bench.worker():
        for number in range(bench.rounds * TIMES_A_ROUND):
            # Each approval adds a turn, and ten are the most that there may be.
            image.edit({"autopoiesis.max_turns": 1 + number % 2})
            await image.update("reload_settings", None, dict)
            view = await image.pending_proposal()
            times["ours"].append(await _until_replaced(image.file, image.decide(view.loop_id)))
            await image.loops_concluded()
            for name, update in BARE.items():
                asked = entity.execute_update(update, image.file.read_text())
                times[name].append(await _until_replaced(file, asked))
    await entity.terminate()
    return [row for name in BARE for row in _rows(name, times["ours"], times[name])]


def _rows(name: str, ours: list[float], bare: list[float]) -> list[Row]:
    what = f"approval to rewritten settings.toml (bare: {name})"
    shares = (("p50", 50), ("p99", 99))
    return [
        Row(f"{what}, of {len(ours)}", milliseconds(ours), milliseconds(bare), median_ratio(ours, bare))
    ] + [
        Row(
            f"{what}, {told}",
            f"{percentile(ours, share) * 1000:.0f} ms",
            f"{percentile(bare, share) * 1000:.0f} ms",
            f"{percentile(ours, share) / percentile(bare, share):.2f}",
        )
        for told, share in shares
    ]


async def _until_replaced(file: Path, asked: Awaitable[object]) -> float:
    """The seconds until another file has taken the place of this one."""
    inode = _inode(file)
    start = time.perf_counter()
    answer = asyncio.ensure_future(asked)
    while _inode(file) == inode:  # noqa: ASYNC110 (a file has no event)
        await asyncio.sleep(LOOK_SECONDS)
    took = time.perf_counter() - start
    await answer
    return took


def _inode(file: Path) -> int:
    return file.stat().st_ino


if __name__ == "__main__":
    run_alone(approval_to_file, __doc__, rounds=15)
