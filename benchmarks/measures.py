"""What is measured, each figure with the bare workflow's beside it."""

import asyncio
import statistics
import subprocess
import time
from collections.abc import Awaitable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from benchmarks.bare import CALLS, TASK_QUEUE, BareTask
from testbed.processes import worker_process
from testbed.world import Image, until
from workflows.dialogue import Dialogue


@dataclass(frozen=True)
class Bench:
    """An image beside the baseline's worker; the delay is that of one model call.

    host: the model server. metrics: where the Temporal server tells what it has done.
    """

    image: Image
    rounds: int
    delay_ms: int
    host: str
    metrics: str

    def worker(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """The image's worker process."""
        return worker_process(self.image.file, self.image.address)


class Row(NamedTuple):
    what: str
    ours: str
    bare: str = ""
    ratio: str = ""


async def measure_all(bench: Bench) -> list[Row]:
    """All rows at one delay; those that do not depend on it only at 0 ms."""
    rows = []
    with bench.worker():
        await warm_up(bench)
        for recall in (True, False):
            await remembering(bench, recall)
            rows += await task_latency(bench, "with" if recall else "without")
        if bench.delay_ms == 0:
            rows += await histories(bench)
            rows += await submit_latency(bench)
    if bench.delay_ms:
        rows += await recovery(bench)
    return rows


async def seconds(work: Awaitable[object]) -> float:
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


def spread(values: list[float], unit: str, scale: float = 1, digits: int = 0) -> str:
    """The median of some figures, with the least and the greatest."""
    figures = (statistics.median(values), min(values), max(values))
    middle, least, greatest = (f"{figure * scale:.{digits}f}" for figure in figures)
    return f"{middle} {unit} ({least} to {greatest})"


def milliseconds(values: list[float]) -> str:
    return spread(values, "ms", 1000)


def percentile(values: list[float], share: int) -> float:
    return statistics.quantiles(values, n=100)[share - 1]


def median_ratio(ours: list[float], bare: list[float]) -> str:
    """The median of what each of ours is to the bare one beside it."""
    return f"{statistics.median(mine / other for mine, other in zip(ours, bare, strict=True)):.2f}"


def compared(what: str, ours: list[float], bare: list[float]) -> Row:
    return Row(what, milliseconds(ours), milliseconds(bare), median_ratio(ours, bare))


async def bare_task(bench: Bench, name: str) -> WorkflowHandle[BareTask, str]:
    return await bench.image.client.start_workflow(BareTask.run, "question", id=name, task_queue=TASK_QUEUE)


async def ask_bare(bench: Bench, name: str) -> None:
    await (await bare_task(bench, name)).result()


async def warm_up(bench: Bench) -> None:
    for number in range(3):
        await bench.image.ask(f"Warm {number}?")
        await ask_bare(bench, f"warm-{number}")


async def remembering(bench: Bench, recall: bool, abreast: int = 2) -> None:
    """Let the tasks that follow recall three earlier ones, or none, so many tasks at a time."""
    # The arguments converge in their first turn, whatever was measured before.
    settings = {"autopoiesis.convergence_threshold": 0.4, "system.max_concurrent_tasks": abreast}
    bench.image.edit({**settings, "memory.recall": 3 if recall else 0})
    await bench.image.update("reload_settings", None, dict)


async def task_latency(bench: Bench, recall: str) -> list[Row]:
    """From handing a task in to its result, ours (with or without recall) and bare in turn."""
    ours, dialogues, bare = [], [], []
    for number in range(bench.rounds):
        start = time.perf_counter()
        receipt = await bench.image.submit(f"Question {number} {recall} recall?")
        await bench.image.result(receipt)
        ours.append(time.perf_counter() - start)
        described = await bench.image.client.get_workflow_handle(receipt.workflow_id).describe()
        assert described.close_time is not None
        dialogues.append((described.close_time - described.start_time).total_seconds())
        bare.append(await seconds(ask_bare(bench, f"task-{bench.delay_ms}-{recall}-{number}")))

    def overhead(tasks: list[float]) -> str:
        return milliseconds([task / CALLS - bench.delay_ms / 1000 for task in tasks])

    asked = f"of {bench.delay_ms} ms {recall} recall"
    return [
        compared(f"a task of six calls {asked}: handed in to result", ours, bare),
        compared(f"a task of six calls {asked}: its dialogue alone", dialogues, bare),
        Row(f"overhead for each call {asked} (dialogue alone)", overhead(dialogues), overhead(bare)),
    ]


async def histories(bench: Bench) -> list[Row]:
    """Events and bytes of a dialogue of one turn, of each further turn, and of the bare task."""
    image = bench.image
    await remembering(bench, True)
    image.edit({"autopoiesis.convergence_threshold": 0.05})
    sizes = []
    for turns in (1, 3):
        image.edit({"autopoiesis.max_turns": turns})
        await image.update("reload_settings", None, dict)
        receipt = await image.submit(f"How large are {turns} turns?")
        await image.result(receipt)
        sizes.append(await _size(bench, receipt.workflow_id))
    await ask_bare(bench, "sized")
    bare = await _size(bench, "sized")
    before = await _size(bench, image.name)
    await image.ask("And in the image?")
    after = await _size(bench, image.name)
    return [
        Row(
            f"history: {unit} for a task of six calls, and each further turn (three calls)",
            f"{sizes[0][index]:,} and {(sizes[1][index] - sizes[0][index]) / 2:,.0f}",
            f"{bare[index]:,}",
            f"{sizes[0][index] / bare[index]:.2f}",
        )
        for index, unit in enumerate(("events", "bytes"))
    ] + [
        Row(
            "history of the image: events, bytes for a task",
            f"{after[0] - before[0]:,}, {after[1] - before[1]:,}",
        )
    ]


async def _size(bench: Bench, workflow_id: str) -> tuple[int, int]:
    description = await bench.image.client.get_workflow_handle(workflow_id).describe()
    info = description.raw_description.workflow_execution_info
    return info.history_length, info.history_size_bytes


async def submit_latency(bench: Bench) -> list[Row]:
    """From sending a task to its receipt, against starting a bare workflow."""
    ours, bare = [], []
    for number in range(bench.rounds):
        ours.append(await seconds(bench.image.submit(f"Submitted {number}?")))
        await bench.image.tasks_finished()
        name = f"submit-{number}"
        bare.append(await seconds(bare_task(bench, name)))
        await bench.image.client.get_workflow_handle(name).result()
    return [
        Row("submit_task to its receipt (bare: start a workflow)", milliseconds(ours), milliseconds(bare))
    ]


async def recovery(bench: Bench) -> list[Row]:
    """From a new worker being up to the next finished call, after the old one was killed in mid-call."""
    to_progress = []
    for number in range(5):
        with bench.worker() as process:
            receipt = await bench.image.submit(f"Killed {number}?")
            dialogue = bench.image.client.get_workflow_handle_for(Dialogue.run, receipt.workflow_id)
            await until(partial(_calls_done, dialogue, 2))
            # Well into the third call.
            await asyncio.sleep(bench.delay_ms / 2000)
            process.kill()
            done = await _count_done(dialogue)
        with bench.worker():
            await until(lambda: _polls(bench))
            to_progress.append(await seconds(until(partial(_calls_done, dialogue, done + 1))))
            await bench.image.result(receipt)
    return [Row("SIGKILL in mid-call: new worker up to the next finished call", milliseconds(to_progress))]


async def _count_done(handle: WorkflowHandle[Any, Any]) -> int:
    events = (await handle.fetch_history()).events
    return sum(event.HasField("activity_task_completed_event_attributes") for event in events)


async def _calls_done(handle: WorkflowHandle[Any, Any], least: int) -> bool:
    with suppress(RPCError):  # it has not begun
        return await _count_done(handle) >= least
    return False


async def _polls(bench: Bench) -> bool:
    """Whether the image answers a query, which only a worker can."""
    with suppress(RPCError):  # the server has seen no worker for too long
        return bool(await bench.image.status())
    return False
