"""What a benchmark runs on: a server, a model server, an image, and the baselines beside it."""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measures import Bench, Row
from runtime.dev_server import DevServer, run_dev_server
from testbed.ports import free_ports
from testbed.processes import module_process
from testbed.world import Image


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
            with module_process("benchmarks.bare", server.address, host, str(folder)):
                yield Bench(image, rounds, delay_ms, host, metrics_of(server))


def metrics_of(server: DevServer) -> str:
    """Where the server tells its metrics."""
    return next(word for word in server.output().split() if word.endswith("/metrics"))


def show(rows: Sequence[Row], bare: str = "bare") -> None:
    """One table that a page takes as it is."""
    table = Table("measured", "this", bare, "ratio", box=box.MARKDOWN)
    for row in rows:
        table.add_row(*row)
    # A file has no width, and a table takes no more than it needs.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)


def run_alone(
    measure: Callable[[Bench], Awaitable[list[Row]]], about: str | None, rounds: int, delay_ms: int = 0
) -> None:
    """One benchmark by itself, on a stage of its own: `python -m ...`."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"pairs for each figure ({rounds})")
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error("--rounds: at least 2")

    async def alone() -> list[Row]:
        with tempfile.TemporaryDirectory() as folder:
            async with bench(Path(folder), delay_ms, arguments.rounds) as stage:
                return await measure(stage)

    os.environ.pop("TEMPORAL_ADDRESS", None)
    with contextlib.suppress(KeyboardInterrupt):
        show(asyncio.run(alone()))
