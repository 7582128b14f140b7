"""What `watch` sees of an image at one look."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connection.problems import Problem

if TYPE_CHECKING:
    from desk.client import Desk
    from messages.calls import Heard
    from messages.image import ImageStatus
    from messages.loops import ProposalView
    from messages.tasks import PerformanceLog, TaskView, Transcript
    from messages.verification import VerificationView


@dataclass
class Argument:
    """A running task. `transcript` None: its dialogue has not begun."""

    task: TaskView
    transcript: Transcript | None = None
    heard: Heard | None = None


@dataclass
class Sight:
    """What was seen at one look. `trouble`: why the latest one came to nothing; the rest is of before."""

    status: ImageStatus
    tasks: list[TaskView]
    arguments: list[Argument]
    logs: list[PerformanceLog]
    pending: list[ProposalView] = field(default_factory=list)
    verification: VerificationView | None = None
    trouble: str = ""


async def look(desk: Desk, before: Sight | None = None) -> Sight:
    """See how all stands. Raises Problem."""
    status, tasks = await asyncio.gather(desk.status(), desk.tasks())
    counted = (status.window, status.finished)
    is_same = before is not None and (before.status.window, before.status.finished) == counted
    running = [task for task in tasks if task.phase == "running"]
    return Sight(
        status=status,
        tasks=tasks,
        arguments=await asyncio.gather(*(_argument(desk, task) for task in running)),
        logs=before.logs if before is not None and is_same else await desk.logs(),
        pending=await desk.pending() if status.waiting_loops else [],
        verification=await desk.verification() if status.verification else None,
    )


async def _argument(desk: Desk, task: TaskView) -> Argument:
    argument = Argument(task)
    with contextlib.suppress(Problem):  # not begun, or just ended
        argument.transcript = await desk.transcript(task.task_id)
        argument.heard = await desk.heard(task.task_id)
    return argument
