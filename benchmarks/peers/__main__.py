"""The same work by this and by its peers, in one run: how fast, and what a SIGKILL and a hand edit cost."""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import tomlkit
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measures import Bench, remembering, seconds, spread
from benchmarks.peers.programs import Program, programs
from benchmarks.peers.work import NAME, SECTION, STEPS
from benchmarks.stage import bench
from testbed.processes import ROOT
from testbed.world import edit

PYTHON = ROOT / ".venv" / "peers" / "bin" / "python"
ROUNDS, ABREAST = 5, 8
CALL_SECONDS = 0.2
ONE_BY_ONE, AT_ONCE, SLOWLY = 6, 24, 3
"""Tasks of a round: in turn, eight abreast, and in turn with calls that take time."""
LOST_AFTER_SECONDS = 90.0
OTHER, OTHERS = "autopoiesis.convergence_threshold", 0.35
"""Another key, and what a person writes there."""

Times = dict[str, dict[str, list[float]]]
"""By program, by what was measured."""


class Killed(NamedTuple):
    """What became of eight tasks. `flying`: calls that were being answered. `repeated`: calls asked again."""

    flying: int
    repeated: int
    lost: int
    seconds: float


class Edited(NamedTuple):
    """Whether a person's edits stay that come while an approval waits; `ended`: how the second did."""

    other: bool
    same: bool
    ended: str


class Model:
    """The model server, as one who watches it."""

    def __init__(self, host: str) -> None:
        self._client = httpx.AsyncClient(base_url=host, timeout=60)

    async def takes(self, call_seconds: float) -> None:
        await self._client.put("/delay", json=call_seconds)

    async def calls(self) -> list[dict[str, str]]:
        """All that it was ever asked."""
        told: list[dict[str, str]] = (await self._client.get("/calls")).json()
        return told


async def run(stage: Bench, python: str, rounds: int) -> tuple[Times, dict[str, Killed], dict[str, Edited]]:
    model, all_programs = Model(stage.host), programs(stage, python)
    for program in all_programs:
        await program.start()
    await remembering(stage, False, ABREAST)
    try:
        for program in all_programs:
            await _argue(program, "warm", ABREAST, ABREAST)
        edited = {program.name: await _edited(program) for program in all_programs}
        await model.takes(CALL_SECONDS)
        killed = {program.name: await _killed(program, model) for program in all_programs}
        times = await _times(all_programs, model, rounds)
    finally:
        for program in all_programs:
            await program.kill()
    return times, killed, edited


# --- how fast ---


async def _times(all_programs: Sequence[Program], model: Model, rounds: int) -> Times:
    """All of them in turn, another one first in each round."""
    times: Times = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        first = number % len(all_programs)
        for program in (*all_programs[first:], *all_programs[:first]):
            mine, name = times[program.name], f"round-{number}"
            await model.takes(0.0)
            mine["one"].append(ONE_BY_ONE / await _argue(program, f"{name}-one", ONE_BY_ONE, 1))
            mine["eight"].append(AT_ONCE / await _argue(program, f"{name}-eight", AT_ONCE, ABREAST))
            await model.takes(CALL_SECONDS)
            mine["slow"].append(await _argue(program, f"{name}-slow", SLOWLY, 1) / SLOWLY)
    return times


async def _argue(program: Program, name: str, tasks: int, abreast: int) -> float:
    """The seconds of so many tasks."""
    waiting = iter(range(tasks))

    async def argue() -> None:
        for number in waiting:
            await program.argue(f"{name}-{number}")

    return await seconds(asyncio.gather(*(argue() for _ in range(abreast))))


# --- what is lost ---


async def _killed(program: Program, model: Model) -> Killed:
    """Eight tasks; killed in the middle of their third calls, and started again at once."""
    before = len(await model.calls())
    names = [f"killed-{number}" for number in range(ABREAST)]
    tasks = {asyncio.create_task(program.argue(name)): name for name in names}
    while len(await model.calls()) - before < ABREAST * 5 // 2:  # noqa: ASYNC110 (no event)
        await asyncio.sleep(0.01)
    await asyncio.sleep(CALL_SECONDS / 2)
    flying = sum(call["outcome"] == "answering" for call in (await model.calls())[before:])
    await program.kill()
    start = time.perf_counter()
    await program.start()
    done, lost = await asyncio.wait(tasks, timeout=LOST_AFTER_SECONDS)
    took = time.perf_counter() - start
    for task in lost:
        task.cancel()
    asked = [call["user"] for call in (await model.calls())[before:]]
    counts = [sum(tasks[task] in words for words in asked) for task in done]
    return Killed(flying, sum(counts) - len(STEPS) * len(done), len(lost), took)


async def _edited(program: Program) -> Edited:
    """While an approval waits a person edits another key; during a second one, the very same."""
    await program.propose("another-key")
    edit(program.file, {OTHER: OTHERS})
    await program.kill()
    await program.start()
    await program.approve("another-key")
    section, _, name = OTHER.partition(".")
    other = _on_file(program.file, section, name) == OTHERS
    await program.propose("the-same-key")
    mine = _on_file(program.file, SECTION, NAME) + 3
    edit(program.file, {f"{SECTION}.{NAME}": mine})
    ended = await program.approve("the-same-key")
    return Edited(other, _on_file(program.file, SECTION, NAME) == mine, ended)


def _on_file(file: Path, section: str, name: str) -> float:
    value: float = tomlkit.parse(file.read_text()).unwrap()[section][name]
    return value


# --- what is shown ---


def show(times: Times, killed: dict[str, Killed], edited: dict[str, Edited]) -> None:
    fast = Table(
        "", "tasks/s, one by one", f"tasks/s, {ABREAST} abreast", "s a task, 200 ms a call", box=box.MARKDOWN
    )
    for name, mine in times.items():
        figures = (spread(mine["one"], "", digits=1), spread(mine["eight"], "", digits=1))
        fast.add_row(name, *figures, spread(mine["slow"], "s", digits=2))
    heads = (
        "being answered",
        "asked again",
        "tasks lost",
        "all done after",
        "edit of another key",
        "of the same",
    )
    lost = Table("", *heads, box=box.MARKDOWN)
    for name, found in killed.items():
        seen = edited[name]
        lost.add_row(
            name,
            *(f"{count}" for count in found[:3]),
            f"{found.seconds:.1f} s",
            "kept" if seen.other else "overwritten",
            f"kept: {seen.ended}" if seen.same else "overwritten",
        )
    for table in (fast, lost):
        Console(width=160).print(table)


def plot(times: Times, killed: dict[str, Killed], file: Path) -> None:
    """Three rows of bars: how many tasks, how long one, and how many calls a SIGKILL repeats."""
    from matplotlib import pyplot  # noqa: PLC0415 (takes a second, and is seldom asked for)

    names = [*times][::-1]

    def medians(what: str) -> list[float]:
        return [statistics.median(times[name][what]) for name in names]

    figure, axes = pyplot.subplots(1, 4, figsize=(13, 2.8), sharey=True)
    shown = {
        "tasks a second, one by one, 0 ms a call": medians("one"),
        f"tasks a second, {ABREAST} abreast, 0 ms a call": medians("eight"),
        "seconds a task, 200 ms a call": medians("slow"),
        "calls asked again after a SIGKILL": [float(killed[name].repeated) for name in names],
    }
    for axis, (title, figures) in zip(axes, shown.items(), strict=True):
        bars = axis.barh(names, figures, color=["C0" if name == "this" else "C7" for name in names])
        axis.bar_label(bars, fmt="%.3g", padding=2, fontsize=8)
        axis.margins(x=0.2)
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(file, dpi=80)


async def main(python: str, rounds: int, picture: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with bench(Path(folder), 0, rounds) as stage:
            found = await run(stage, python, rounds)
    show(*found)
    if picture:
        plot(found[0], found[1], picture)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of all programs in turn ({ROUNDS})")
    parser.add_argument("--python", default=str(PYTHON), help="that of the peers' environment")
    parser.add_argument("--plot", type=Path, help="draw the figures into this file")
    arguments = parser.parse_args()
    if not Path(arguments.python).exists():
        parser.error(f"{arguments.python} is not there; `make bench-peers` makes it")
    os.environ.pop("TEMPORAL_ADDRESS", None)
    asyncio.run(main(arguments.python, arguments.rounds, arguments.plot))
