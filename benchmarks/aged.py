"""An image a year old, and what grows with its age: `python -m benchmarks.aged`, about twenty minutes.

A person gives it ten tasks a day, rates answers, edits the settings now and then, and decides what is
proposed. Each night the image's own clock is moved on by a day, so that its snapshots, looks at the logs and
deadlines come as they would. One image on a dev server of its own with its worker.py, all seen from outside.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import psutil
from rich import box
from rich.console import Console
from rich.table import Table
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from benchmarks.measures import Bench, ask_bare, seconds, warm_up
from benchmarks.stage import fake_ollama, metrics_of
from configuration import Value
from connection.namespace import ensure_search_attributes, keep_closed_runs
from connection.places import memory_file
from connection.server import connect
from messages.image import ImageStatus, Rated
from runtime.dev_server import DATABASE, DevServer
from testbed.ports import free_ports
from testbed.processes import module_process
from testbed.world import Image
from workflows.philosophical_loop import PhilosophicalLoop

TASKS = 3000
TASKS_A_DAY = 10
PAIRS = 20
"""Tasks of a sample, one after the other, each beside a bare workflow."""
DAYS_A_SAMPLE = 10
EVENTS_A_RUN = 150
"""After so many the server suggests continue-as-new; by itself it would after 4096."""
DAY = timedelta(days=1)
TYPES = ("question", "essay", "code")
LOOK_SECONDS = 0.1
SETTINGS: dict[str, Value] = {
    "cadence.min_logs": 20,
    "cadence.check_every": "10d",
    "optimizer.verify_blocks": 20,
}


class AgingServer(DevServer):
    """The dev server of `worker.py --dev`; the clocks of its workflows may be moved, their runs are short."""

    def command(self) -> list[str]:
        values = (
            "frontend.WorkflowTimeSkippingEnabled=true",
            f"limit.historyCount.suggestContinueAsNew={EVENTS_A_RUN}",
            # Else a run that was over within a second has the next one wait, which no run of 4096 events is.
            'history.workflowIdReuseMinimalInterval="0s"',
        )
        return [*super().command(), *(word for value in values for word in ("--dynamic-config-value", value))]


@dataclass(frozen=True)
class Sample:
    """Bytes, seconds, and how many of what there have been, at one age."""

    day: int
    tasks: int
    runs: int
    amendments: int
    state: int
    worker: int
    server: int
    task: float
    bare: float
    ratio: float
    memory: int
    snapshot: int
    database: int


class Person:
    """Lives with an image; the same decisions each time, as far as the image asks for the same."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.image = bench, bench.image
        # What the image starts while its clock moves keeps its own time.
        standing = TimeSkippingConfig(enabled=False, disable_propagation=True)
        self.clock = TimeSkipper(self.image.client, config=standing)
        self.chance = random.Random(1)
        self.day = self.tasks = self.decided = 0

    async def live_ten_days(self) -> list[tuple[float, float]]:
        """The seconds of each task of the last two days, and of the bare workflow beside it."""
        for _ in range(DAYS_A_SAMPLE - PAIRS // TASKS_A_DAY):
            await self.give(TASKS_A_DAY)
            await self.rate()
            await self.sleep()
        await self.edit()
        pairs = [await self.pair() for _ in range(PAIRS)]
        # What an argument for another turn looks like, before the night in which the image looks at its logs.
        await self.image.record_reasons()
        for _ in range(PAIRS // TASKS_A_DAY):
            await self.sleep()
        return pairs

    def next_task(self) -> dict[str, str]:
        self.tasks += 1
        return {
            "task": f"Question {self.tasks} of day {self.day}?",
            "task_id": f"q{self.tasks}",
            "task_type": TYPES[self.tasks % len(TYPES)],
        }

    async def give(self, count: int) -> None:
        for _ in range(count):
            await self.image.submit(**self.next_task())
        while (status := await self.status()).queued + status.running:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)

    async def status(self) -> ImageStatus:
        """Asked until it is answered: on a crowded machine the worker's answers come too late at times."""
        while True:
            try:
                return await self.image.status()
            except RPCError:
                await asyncio.sleep(LOOK_SECONDS)

    async def pair(self) -> tuple[float, float]:
        ours = await seconds(self.image.ask(**self.next_task()))
        return ours, await seconds(ask_bare(self.bench, f"bare-{self.tasks}"))

    async def rate(self) -> None:
        """An opinion of three of the latest answers."""
        for number in self.chance.sample(range(TASKS_A_DAY), 3):
            rating = {"rating": round(self.chance.random(), 2), "rated_by": "Ada", "comment": "So it seems."}
            await self.image.update("rate_task", {"task_id": f"q{self.tasks - number}", **rating}, Rated)

    async def edit(self) -> None:
        """By hand, so that an argument is over after one turn again: each sample measures the same calls."""
        own = {"autopoiesis.max_turns": 2, "autopoiesis.convergence_threshold": 0.4, "memory.recall": 3}
        temperature = 0.5 + self.chance.randrange(4) / 10
        self.image.edit({**own, "models.temperature": temperature})
        await self.image.update("reload_settings", None, dict)

    async def sleep(self) -> None:
        """A day goes by; the clock stands still while a proposal waits, so what is proposed is decided."""
        moving = asyncio.create_task(self.clock.fast_forward(self.image.image, DAY))
        while not moving.done():
            for loop_id in (await self.status()).waiting_loops:
                with contextlib.suppress(RPCError):  # it has only just begun
                    await self.decide(loop_id)
            await asyncio.wait({moving}, timeout=LOOK_SECONDS)
        await moving
        self.day += 1

    async def decide(self, loop_id: str) -> None:
        """Two of three proposals are approved."""
        view = await self.image.loop(loop_id).query(PhilosophicalLoop.proposal)
        if view.state == "pending":
            self.decided += 1
            await self.image.decide(loop_id, "approve" if self.decided % 3 else "reject")


async def sample(person: Person, worker: int, server: int, pairs: Sequence[tuple[float, float]]) -> Sample:
    image, folder = person.image, person.image.file.parent
    status, state = await person.status(), await image.state()
    started = await anext(image.image.fetch_history_events())
    (carried,) = started.workflow_execution_started_event_attributes.input.payloads
    memory = memory_file(folder / ".state")
    snapshots = [file.stat() for file in (folder / "snapshots").rglob("*") if file.is_file()]
    return Sample(
        day=person.day,
        tasks=status.finished,
        runs=status.runs,
        amendments=state.ledger.revision,
        state=len(carried.data),
        worker=psutil.Process(worker).memory_info().rss,
        server=psutil.Process(server).memory_info().rss,
        task=statistics.median(ours for ours, _ in pairs),
        bare=statistics.median(bare for _, bare in pairs),
        ratio=statistics.median(ours / bare for ours, bare in pairs),
        memory=_with_log(memory),
        snapshot=max(snapshots, key=lambda stat: stat.st_mtime).st_size,
        database=_with_log(folder / "server" / DATABASE),
    )


def _with_log(database: Path) -> int:
    """The bytes of an SQLite file and of its write-ahead log."""
    log = database.with_name(f"{database.name}-wal")
    return database.stat().st_size + (log.stat().st_size if log.exists() else 0)


# --- the year ---


class Places(NamedTuple):
    bench: Bench
    worker: subprocess.Popen[bytes]
    server: DevServer


@asynccontextmanager
async def born(folder: Path) -> AsyncIterator[Places]:
    """An image with its worker, server and model server, and the baseline's worker."""
    script = folder / "script.json"
    # As many calls as the bare workflow makes, in a first turn that always agrees; and different dissonances.
    script.write_text(json.dumps({"needs_research": True, "labels": ["partly_different", "same"]}))
    (folder / "server").mkdir()
    async with AgingServer(folder / "server", *free_ports()) as server:
        client: Client = await connect(server.address)
        await ensure_search_attributes(client)
        await keep_closed_runs(client)
        with (
            fake_ollama(0, script) as host,
            module_process("benchmarks.bare", server.address, host, str(folder)),
        ):
            image = Image(client, host, folder, SETTINGS)
            await image.start()
            bench = Bench(image, PAIRS, 0, host, metrics_of(server))
            with bench.worker() as worker:
                await warm_up(bench)
                yield Places(bench, worker, server)


async def live(tasks: int, samples: list[Sample]) -> None:
    """Fill the list as the image ages."""
    with tempfile.TemporaryDirectory() as folder:
        async with born(Path(folder)) as (bench, worker, server):
            person = Person(bench)
            while person.tasks < tasks:
                pairs = await person.live_ten_days()
                samples.append(await sample(person, worker.pid, server.pid, pairs))
                print(json.dumps(asdict(samples[-1])), file=sys.stderr, flush=True)


# --- what is shown ---


class Figure(NamedTuple):
    name: str
    of: Callable[[Sample], float]
    digits: int = 1


FIGURES = (
    Figure("state carried into the next run, KiB", lambda one: one.state / 2**10),
    Figure("worker's memory (RSS), MB", lambda one: one.worker / 1e6),
    Figure("a task of six calls of 0 ms, ms", lambda one: one.task * 1e3, 0),
    Figure("a bare workflow beside it, ms", lambda one: one.bare * 1e3, 0),
    Figure("a task against a bare workflow, ratio", lambda one: one.ratio, 2),
    Figure("memory.db with its log, MB", lambda one: one.memory / 1e6),
    Figure("a snapshot, MB", lambda one: one.snapshot / 1e6, 2),
    Figure("for information: the server's memory (RSS), MB", lambda one: one.server / 1e6, 0),
    Figure("for information: the server's database, MB", lambda one: one.database / 1e6, 0),
)
STATE, WORKER, TASK, BARE, RATIO, MEMORY, SNAPSHOT, *_ = FIGURES


def show(samples: Sequence[Sample], took: float) -> None:
    """Medians of the first tenth of the samples, of the one in the middle and of the last."""
    tenth = max(1, len(samples) // 10)
    middle = (len(samples) - tenth) // 2
    parts = (samples[:tenth], samples[middle : middle + tenth], samples[-tenth:])
    table = Table("", "first tenth", "middle", "last tenth", "last / first", box=box.MARKDOWN)
    for figure in FIGURES:
        first, mid, last = (statistics.median(map(figure.of, part)) for part in parts)
        shown = (f"{each:,.{figure.digits}f}" for each in (first, mid, last))
        table.add_row(figure.name, *shown, f"{last / first:.2f}")
    Console(width=150).print(table)
    end = samples[-1]
    print(
        f"{end.tasks:,} tasks in {end.day} days of the image's clock, {end.runs} runs (continue-as-news), "
        f"revision {end.amendments}; {took / 60:.0f} minutes"
    )


def plot(samples: Sequence[Sample], file: Path) -> None:
    """State, memory, time a task and files, by the number of tasks."""
    from matplotlib import pyplot  # noqa: PLC0415 (takes a second, and is seldom asked for)

    panels = (("KiB", (STATE,)), ("MB", (WORKER,)), ("", (RATIO,)), ("MB", (MEMORY, SNAPSHOT)))
    figure, axes = pyplot.subplots(2, 2, figsize=(12, 7), sharex=True)
    for axis, (unit, curves) in zip(axes.flat, panels, strict=True):
        for curve in curves:
            values = [curve.of(one) for one in samples]
            axis.plot([one.tasks for one in samples], values, marker=".", label=curve.name)
        axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
        axis.set_ylabel(unit)
        axis.legend(frameon=False, fontsize=9, loc="lower right")
    for axis in axes[-1]:
        axis.set_xlabel("tasks, ten a day")
    figure.tight_layout()
    figure.savefig(file, dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aged", description=__doc__)
    parser.add_argument("--tasks", type=int, default=TASKS, help=f"at least so many ({TASKS})")
    parser.add_argument("--plot", type=Path, help="draw the curves into this file")
    arguments = parser.parse_args()
    if arguments.tasks < 1:
        parser.error("--tasks: at least 1")
    os.environ.pop("TEMPORAL_ADDRESS", None)
    lived: list[Sample] = []
    began = time.perf_counter()
    # What was seen until Ctrl-C is shown.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(live(arguments.tasks, lived))
    if lived:
        show(lived, time.perf_counter() - began)
    if lived and arguments.plot:
        plot(lived, arguments.plot)
