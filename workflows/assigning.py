"""Tasks that other programs do: under which settings, and what came of it. Pure.

A program asks for its settings before a task and hands in the log after it. So what it does is compared in
the same blocks as what the personas do, and learnt from in the same table.
"""

from datetime import datetime

from pydantic import BaseModel

from configuration import Settings, Value
from messages.common import Arm
from messages.tasks import Assignment, PerformanceLog
from workflows.bounded import keep_newest
from workflows.verification import Verifying

MOST_ASSIGNED = 32
ASSIGNED_BYTES = 5 * 1024


class Assigned(BaseModel):
    """A task whose log is awaited. `block`, `arm`: its place in a verification."""

    task_id: str
    digest: str
    block: int | None = None
    arm: Arm | None = None


class Assigning(BaseModel):
    """The latest 32 tasks whose logs are awaited. A log of an older one counts, but in no comparison."""

    tasks: list[Assigned] = []

    def assign(self, task_id: str, verifying: Verifying, settings: Settings, revision: int) -> Assignment:
        """The settings for a task: asked again, the same ones while they hold."""
        known = self._find(task_id)
        is_compared = verifying.open is not None and verifying.open.is_running
        usable = verifying.sides(settings) if is_compared else [verifying.settings_of(None, settings)]
        sides = {side.digest(): side for side in usable}
        if known is None or known.digest not in sides:
            block, arm = verifying.place() or (None, None)
            used = verifying.settings_of(arm, settings)
            known = Assigned(task_id=task_id, digest=used.digest(), block=block, arm=arm)
            others = [each for each in self.tasks if each.task_id != task_id]
            self.tasks = keep_newest([*others, known], MOST_ASSIGNED, ASSIGNED_BYTES)
        else:
            used = sides[known.digest]
        return Assignment(
            task_id=task_id,
            values=used.tuned(),
            custom=_custom(used),
            settings_digest=known.digest,
            revision=revision,
            arm=known.arm,
        )

    def complete(self, log: PerformanceLog, now: datetime) -> tuple[PerformanceLog, Assigned | None]:
        """A log from outside, with the settings and the arm that its task was given, whatever it says."""
        # Conditions are what our own workers found; others may name theirs alike and mean something else.
        told: dict[str, object] = {"conditions": "", "arm": None}
        known = self._find(log.task_id)
        if known is not None:
            self.tasks = [each for each in self.tasks if each is not known]
            told |= {"arm": known.arm, "settings_digest": known.digest}
            told["finished_at"] = log.finished_at or now
        return log.model_copy(update=told), known

    def blocks(self) -> set[int]:
        return {task.block for task in self.tasks if task.block is not None}

    def _find(self, task_id: str) -> Assigned | None:
        return next((each for each in self.tasks if each.task_id == task_id), None)


def _custom(settings: Settings) -> dict[str, Value]:
    return {name: custom.value for name, custom in settings.custom.items()}
