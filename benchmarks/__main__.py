"""Run all measurements against one fresh dev server and print one table."""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.load import load
from benchmarks.measures import Bench, Row, measure_all
from benchmarks.snapshots import large_snapshot
from runtime.dev_server import run_dev_server
from testbed.ports import free_ports
from testbed.processes import module_process
from testbed.world import Image

DELAYS_MS = (0, 200)


@contextmanager
def fake_ollama(delay_ms: int, script: Path) -> Iterator[str]:
    """A scripted model server as a process; its answers take `delay_ms`."""
    arguments = ("--port", "0", "--delay", str(delay_ms / 1000), "--script", str(script))
    with module_process("testbed.fake_ollama", *arguments) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"


@asynccontextmanager
async def bench(folder: Path, delay_ms: int, rounds: int) -> AsyncIterator[Bench]:
    """A server, a model server, an image with its worker, and the baseline's worker."""
    script = folder / "script.json"
    # As many calls as the bare workflow makes: plan, research, thesis, antithesis, dissonance, synthesis.
    script.write_text(json.dumps({"needs_research": True}))
    state = folder / "state"
    state.mkdir()
    async with run_dev_server(state, *free_ports()) as (server, client):
        with fake_ollama(delay_ms, script) as host:
            image = Image(client, host, folder, {"cadence.min_logs": 100})
            await image.start()
            with module_process("benchmarks.bare", server.address, host):
                yield Bench(image, rounds, delay_ms)


async def run(rounds: int) -> list[Row]:
    rows: list[Row] = []
    for delay_ms in DELAYS_MS:
        with tempfile.TemporaryDirectory() as folder:
            async with bench(Path(folder), delay_ms, rounds) as one:
                rows += await measure_all(one)
                if delay_ms == 0:
                    rows += await load(one)
                    rows += await large_snapshot(one)
    return rows


def show(rows: list[Row]) -> None:
    table = Table("measured", "this", "bare workflow", "ratio", title="Medians; ratios pair by pair")
    for row in rows:
        table.add_row(*row)
    # A file has no width, and a table takes no more than it needs.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="pairs of tasks for each figure (15)")
    arguments = parser.parse_args()
    os.environ.pop("TEMPORAL_ADDRESS", None)
    with contextlib.suppress(KeyboardInterrupt):
        show(asyncio.run(run(arguments.rounds)))
