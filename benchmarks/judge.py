"""Does the image's own judge know the better answer? `python -m benchmarks.judge [--pairs N]`.

The embedded model compares the pairs of judge_pairs.toml, labelled by hand, as trials have answers compared:
the same words, the same activity, each pair twice with the order swapped. A pair agrees where the judge says
what its label says; a flip, which counts as a tie, agrees with "alike".
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from rich.console import Console
    from rich.table import Table

    from activities.personas import Personas
    from configuration.reading import load_settings
    from messages.loops import LoopStart
    from messages.tasks import Task
    from messages.trials import MATCHED, Better, Judged
    from runtime.dev_server import run_dev_server
    from runtime.embedded_model.weights import EMBEDDED_MODEL_NAME
    from runtime.model_backend import Choice, RunningModel, run_model
    from testbed.ports import free_ports
    from testbed.world import SETTINGS
    from workflows.trials import Trials

PAIRS = Path(__file__).with_name("judge_pairs.toml")
QUEUE = "judge"
SWAPPED: dict[Better, Better] = {"first": "second", "second": "first", "same": "same"}


class Pair(BaseModel):
    """Two answers to a task. `better`: which one a person would want; `fault`: of the other one."""

    task: str
    first: str
    second: str
    better: Better
    fault: str

    @property
    def lengths(self) -> tuple[int, int]:
        return len(self.first), len(self.second)

    @property
    def is_matched(self) -> bool:
        """Whether both are about equally long, as `Judged` has it."""
        return min(self.lengths) >= MATCHED * max(self.lengths)


class Heard(Judged):
    """What the judge said of one pair: in this order, then with the two swapped."""

    said: tuple[Better, Better] = ("same", "same")
    tokens: int = 0
    seconds: float = 0.0

    def add(self, in_order: Better, swapped: Better, lengths: tuple[int, int]) -> None:
        super().add(in_order, swapped, lengths)
        self.said = in_order, swapped

    @property
    def verdict(self) -> Better:
        return "first" if self.wins else "second" if self.losses else "same"


Rows = Sequence[tuple[Pair, Heard]]


@workflow.defn
class Comparison:
    """One pair, compared as trials do it."""

    @workflow.run
    async def run(self, start: LoopStart, pair: Pair) -> Heard:
        heard, trials = Heard(), Trials(start, lambda: None)
        task = Task(task_id=workflow.info().workflow_id, task=pair.task, submitted_at=workflow.now())
        await trials.compare(heard, task, pair.first, pair.second)
        heard.tokens = trials.tokens
        return heard


def load() -> list[Pair]:
    return [Pair.model_validate(pair) for pair in tomllib.loads(PAIRS.read_text())["pairs"]]


async def ask(
    client: Client, model: RunningModel, pairs: Sequence[Pair], rows: list[tuple[Pair, Heard]]
) -> None:
    """Fill the rows one after the other, so that no question waits for another."""
    settings = load_settings(SETTINGS)
    start = LoopStart(
        image_id=QUEUE, loop_id=QUEUE, window=[], settings=settings, settings_digest=settings.digest()
    )
    personas = Personas(model.backend, loading=model.loading)
    activities = [personas.compare_answers]
    async with Worker(client, task_queue=QUEUE, workflows=[Comparison], activities=activities):
        if model.loading is not None:
            await model.loading
        for number, pair in enumerate(pairs, 1):
            began = time.perf_counter()
            heard = await client.execute_workflow(
                Comparison.run, args=[start, pair], id=f"{QUEUE}-{number}", task_queue=QUEUE
            )
            heard.seconds = time.perf_counter() - began
            rows.append((pair, heard))
            told = f"{number}: {pair.fault}, {pair.better}; said {' then '.join(heard.said)}"
            print(f"{told}; {heard.seconds:.0f} s", file=sys.stderr, flush=True)
    await personas.close()


async def main(pairs: Sequence[Pair], rows: list[tuple[Pair, Heard]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        async with (
            run_dev_server(state, *free_ports()) as (_, client),
            run_model(Choice(EMBEDDED_MODEL_NAME), state) as model,
        ):
            await ask(client, model, pairs, rows)


def singles(rows: Rows) -> list[bool]:
    """Of every single question, whether it was answered as the label says."""
    return [
        said == label
        for pair, heard in rows
        for said, label in zip(heard.said, (pair.better, SWAPPED[pair.better]), strict=True)
    ]


def together(rows: Rows) -> Judged:
    """All of it, as if the first answers were a candidate's."""
    judged = Judged()
    for pair, heard in rows:
        judged.add(*heard.said, pair.lengths)
    return judged


def share(right: Sequence[bool]) -> str:
    return f"{sum(right)} of {len(right)}, {sum(right) / len(right):.0%}" if right else "none"


def figures(rows: Rows) -> Iterator[tuple[str, str]]:
    """What came of it, a line each."""

    def agreed(chosen: Rows) -> str:
        return share([heard.verdict == pair.better for pair, heard in chosen])

    decided = [row for row in rows if row[0].better != "same"]
    alike = [row for row in rows if row[0].better == "same"]
    reverse = [heard.verdict == SWAPPED[pair.better] for pair, heard in decided]
    said = [one for _, heard in rows for one in heard.said]
    yield "pairs that agree with their label", agreed(rows)
    yield "of those with a better answer", agreed(decided)
    yield "the worse one taken instead", share(reverse)
    yield "of those alike", agreed(alike)
    yield "of equal length, with a better answer", agreed([row for row in decided if row[0].is_matched])
    yield "single questions answered as labelled", share(singles(rows))
    yield "the same, of pairs with a better answer", share(singles(decided))
    yield (
        'single answers "first", "second", "same"',
        ", ".join(str(said.count(one)) for one in ("first", "second", "same")),
    )
    flips = share([bool(heard.flips) for _, heard in rows])
    yield "flips", f"{flips}: {'muted' if together(rows).muted else 'listened to'}"
    yield "tokens a question", f"{sum(heard.tokens for _, heard in rows) / len(said):.0f}"
    yield "seconds a question", f"{sum(heard.seconds for _, heard in rows) / len(said):.1f}"


def by_fault(rows: Rows) -> Iterator[tuple[str, str, str, str]]:
    for fault in dict.fromkeys(pair.fault for pair, _ in rows):
        of_it = [row for row in rows if row[0].fault == fault]
        right = [heard.verdict == pair.better for pair, heard in of_it]
        flips = sum(heard.flips for _, heard in of_it)
        yield fault, f"{sum(right)} of {len(of_it)}", share(singles(of_it)), str(flips)


def show(rows: Rows) -> None:
    # A file has no width, and a table takes no more than it needs.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    console.print(f"{rows[0][1].model}. If the first answers were a candidate's: {together(rows)}.")
    table = Table("measured", "", title=f"The judge on {len(rows)} pairs")
    for figure in figures(rows):
        table.add_row(*figure)
    console.print(table)
    table = Table("fault of the worse answer", "pairs agree", "single questions", "flips")
    for row in by_fault(rows):
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    known = load()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("--pairs", type=int, default=len(known), help=f"only the first N (all {len(known)})")
    arguments = parser.parse_args()
    if not 1 <= arguments.pairs <= len(known):
        parser.error(f"--pairs: from 1 to {len(known)}")
    began, rows = time.perf_counter(), list[tuple[Pair, Heard]]()
    # What there is when somebody ends it is shown.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(known[: arguments.pairs], rows))
    if rows:
        show(rows)
    print(f"{time.perf_counter() - began:.0f} s")
