"""From an approval to the rewritten settings.toml, beside a bare update and activity that write a file.

`python -m benchmarks.approvals`
"""

import asyncio
import time
from collections.abc import Awaitable
from pathlib import Path

from benchmarks.bare import FILE, TASK_QUEUE, BareEntity
from benchmarks.measures import Bench, Row, milliseconds, percentile
from benchmarks.stage import run_alone

PAIRS_PER_ROUND = 10
LOOK_SECONDS = 0.0005


async def approval_to_file(bench: Bench) -> list[Row]:
    """Ours and bare in turn, until so many that the slowest hundredth means something."""
    image, ours, bare = bench.image, list[float](), list[float]()
    entity = await image.client.start_workflow(BareEntity.run, id="file", task_queue=TASK_QUEUE)
    file = image.file.parent / FILE
    await entity.execute_update(BareEntity.decide, "")
    with bench.worker():
        for number in range(bench.rounds * PAIRS_PER_ROUND):
            # Each approval adds a turn, and ten are the most that there may be.
            image.edit({"autopoiesis.max_turns": 1 + number % 2})
            await image.update("reload_settings", None, dict)
            view = await image.pending_proposal()
            ours.append(await _until_replaced(image.file, image.decide(view.loop_id)))
            text = image.file.read_text()
            bare.append(await _until_replaced(file, entity.execute_update(BareEntity.decide, text)))
            await image.loops_concluded()
    await entity.terminate()
    return [
        Row(
            f"approval to rewritten settings.toml, {name} of {len(ours)} (bare: a file written and synced)",
            f"{percentile(ours, share) * 1000:.0f} ms",
            f"{percentile(bare, share) * 1000:.0f} ms",
            f"{percentile(ours, share) / percentile(bare, share):.2f}",
        )
        for name, share in (("p50", 50), ("p99", 99))
    ] + [Row("the same: median, least and greatest", milliseconds(ours), milliseconds(bare))]


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
