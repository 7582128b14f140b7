"""Run all measurements against one fresh dev server and print one table."""

import argparse
import asyncio
import contextlib
import os
import tempfile
from pathlib import Path

from benchmarks.approvals import approval_to_file
from benchmarks.costs import costs
from benchmarks.load import load
from benchmarks.measures import Row, measure_all
from benchmarks.snapshots import large_snapshot
from benchmarks.stage import bench, show
from benchmarks.submissions import submissions

DELAYS_MS = (0, 200)
AT_0_MS = (submissions, costs, approval_to_file, load, large_snapshot)


async def run(rounds: int) -> list[Row]:
    rows: list[Row] = []
    for delay_ms in DELAYS_MS:
        with tempfile.TemporaryDirectory() as folder:
            async with bench(Path(folder), delay_ms, rounds) as one:
                rows += await measure_all(one)
                for measure in AT_0_MS if delay_ms == 0 else ():
                    rows += await measure(one)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="pairs of tasks for each figure (15)")
    arguments = parser.parse_args()
    os.environ.pop("TEMPORAL_ADDRESS", None)
    with contextlib.suppress(KeyboardInterrupt):
        show(asyncio.run(run(arguments.rounds)))
