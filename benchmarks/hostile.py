"""Try ten thousand hostile messages, command lines, files and model replies, and print how many did harm.

`python -m benchmarks.hostile [--cases 10000]`, against a dev server of its own. Exit code 1 if anything did.
"""

import argparse
import asyncio
import math
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from temporalio.client import Client

from runtime.dev_server import run_dev_server
from testbed.fake_ollama import FakeOllama
from testbed.hostile import Tried, batches
from testbed.ports import free_ports
from testbed.world import World

SHARES = {
    "settings.toml": 0.17,
    "prompts.toml": 0.17,
    "snapshots": 0.27,
    "model replies": 0.16,
    "tasks": 0.005,
    "handlers": 0.17,
    "starts": 0.02,
    "commands": 0.035,
}
"""Of all cases; what takes a process or a whole task comes more rarely."""


@asynccontextmanager
async def worlds(folder: Path) -> AsyncIterator[tuple[Client, FakeOllama]]:
    state = folder / "state"
    state.mkdir()
    async with run_dev_server(state, *free_ports()) as (_, client), FakeOllama() as ollama:
        yield client, ollama


async def run(cases: int) -> list[Tried]:
    count = {kind: math.ceil(cases * share) for kind, share in SHARES.items()}
    found: list[Tried] = []

    async def timed(batch: Callable[[], Awaitable[list[Tried]]]) -> None:
        begun = time.monotonic()
        for tried in await batch():
            found.append(tried)
            took = time.monotonic() - begun
            told = f"{tried.kind}: {tried.cases} cases, {len(tried.failures)} failures, {took:.0f} s"
            print(told, *tried.failures[:5], sep="\n", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in ("files", "bombs", "world", "governed"):
            (folder / each).mkdir()

        async def of_files() -> list[Tried]:
            return batches.of_files(folder / "files", count["settings.toml"])

        async def of_snapshots() -> list[Tried]:
            return [batches.of_snapshots(folder / "bombs", count["snapshots"])]

        await timed(of_files)
        await timed(of_snapshots)
        async with worlds(folder) as (client, ollama):
            async with World(client, ollama, folder / "world") as world:
                await timed(lambda: _one(batches.of_commands(world, count["commands"])))
                await timed(lambda: _one(batches.of_replies(ollama, world, count["model replies"])))
                await timed(lambda: _one(batches.of_tasks(world, count["tasks"])))
            async with batches.addressees(client, ollama, folder / "governed") as to:
                before = to.world.file.read_bytes()
                await timed(lambda: _one(batches.of_starts(to, count["starts"])))
                await timed(lambda: _one(batches.of_handlers(to, count["handlers"])))
                assert to.world.file.read_bytes() == before, "settings.toml was written"
    return found


async def _one(tried: Awaitable[Tried]) -> list[Tried]:
    return [await tried]


def show(found: list[Tried]) -> None:
    table = Table("tried", "cases", "failures", title="Hostile input")
    for tried in found:
        table.add_row(tried.kind, f"{tried.cases:,}", f"{len(tried.failures):,}")
    failures = sum(len(tried.failures) for tried in found)
    table.add_row("all", f"{sum(tried.cases for tried in found):,}", f"{failures:,}", style="bold")
    Console(width=None if sys.stdout.isatty() else 100).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="how many in all (10,000)")
    arguments = parser.parse_args()
    os.environ.pop("TEMPORAL_ADDRESS", None)
    results = asyncio.run(run(arguments.cases))
    show(results)
    sys.exit(any(tried.failures for tried in results))
