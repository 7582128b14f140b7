"""All that a living image remembers, and how each event changes it. Pure: no Temporal, no clock.

Carried whole across continue-as-new, so it must stay small at any age: every list is bounded in number
and in bytes of JSON (`keep_newest`), together under 256 KiB. What has left a list stands elsewhere, see
`ImageState`.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, model_validator

from configuration import Settings, Value
from messages.common import Arm, Outcome, Phase, excerpt, part
from messages.files import SettingsFile
from messages.goals import InquiryConcluded
from messages.image import Keeping, SetAside
from messages.loops import LoopConcluded, LoopWaits
from messages.names import TRIAL, loop_workflow_id, task_workflow_id
from messages.tasks import Assignment, PerformanceLog, Task, TaskView
from workflows.assigning import Assigning
from workflows.bounded import keep_newest, size_of
from workflows.ledger import Ledger
from workflows.motivation import Motivation
from workflows.observing import Observing, values_at
from workflows.verification import Verifying

# Bytes of JSON that each list may take. With the ledger's (40 KiB), the observations (20), the running tasks
# (22), the goals (16), the settings (9), the assigned tasks (5) and the answered updates (2) they stay under
# 256 KiB, half of what the server warns of. The window holds 100 of the longest logs, as many as
# `[cadence] min_logs` may ask for.
QUEUE_BYTES = 36 * 1024
WINDOW_BYTES = 72 * 1024
FINISHED_BYTES = 20 * 1024
SET_ASIDE_BYTES = 4 * 1024
SEEN_BYTES = 10 * 1024

MOTIVATOR = "motivator"
"""The origin of tasks that the personas set themselves."""
MOST_FINISHED = 60


class RunningTask(Task):
    """A task whose dialogue lives. `task` is an excerpt: the dialogue holds the whole.

    `number` grows from each task that is started to the next. `block`, `arm`: its place in a verification.
    """

    settings_digest: str
    heuristics: dict[str, Value] = {}
    number: int = 0
    block: int | None = None
    arm: Arm | None = None


class ImageStart(BaseModel):
    """The argument of `LivingImage`: the settings of a new image, or the state carried over by an old one."""

    settings: Settings
    model_backend: str = ""
    state: "ImageState | None" = None


class ImageState(BaseModel):
    """The image's memory of itself.

    queue          tasks that wait; a full queue refuses, so nothing ever falls out of it
    running        tasks in a dialogue, at most `max_concurrent_tasks`
    finished       the latest 60 tasks; older ones: the workflows `<image_id>/task/...` on the server
    window         the logs since the last decided proposal, at most `[cadence] window`; older ones: as above
    seen_logs      task ids of the latest 200 logs (150 of the longest), so that a log sent twice counts once
    set_aside      the latest 10 messages that did not validate; older ones: the image's earlier runs
    answered       the latest 20 `reflect` updates and their loops: the server forgets update ids with a run
    open_loops     philosophical loops that have not concluded: one at a time
    obstacles      of these, what keeps a loop from settings.toml
    ledger         the adopted settings and how they came to be what they are
    observing      the table that the optimizer learns from
    verifying      whether the latest change helps
    assigning      tasks of other programs whose logs are awaited
    motivation     its own goals
    keeping        when it was last active and last saved; no part of a snapshot
    """

    image_id: str
    started_at: datetime
    runs: int = 1
    phase: Phase = "active"
    model_backend: str = ""

    queue: list[Task] = []
    running: list[RunningTask] = []
    finished: list[TaskView] = []
    finished_count: int = 0
    failed_count: int = 0

    window: list[PerformanceLog] = []
    seen_logs: list[str] = []
    set_aside: list[SetAside] = []

    open_loops: list[str] = []
    obstacles: dict[str, str] = {}
    next_loop: int = 1
    answered: dict[str, str] = {}
    last_look: datetime | None = None
    logs_since_look: int = 0
    ledger: Ledger
    observing: Observing = Observing()
    verifying: Verifying = Verifying()
    assigning: Assigning = Assigning()
    motivation: Motivation = Motivation()
    keeping: Keeping = Keeping()

    @model_validator(mode="before")
    @classmethod
    def _read_what_0_1_0_wrote(cls, values: Any) -> Any:
        """Snapshots of version 0.1.0 have the parts of the ledger among the others."""
        if not isinstance(values, dict) or "settings" not in values:
            return values
        ledger = {name: values[name] for name in Ledger.model_fields if name in values}
        return {name: value for name, value in values.items() if name not in ledger} | {"ledger": ledger}

    @property
    def settings(self) -> Settings:
        return self.ledger.settings

    # --- tasks ---

    def task_workflow_id(self, task_id: str) -> str:
        return task_workflow_id(self.image_id, task_id)

    def children(self) -> list[str]:
        """The workflow ids of all children in flight."""
        inquiries = [self.motivation.inquiry] if self.motivation.inquiry else []
        return [*(self.task_workflow_id(task.task_id) for task in self.running), *self.open_loops, *inquiries]

    def position(self, task_id: str) -> int | None:
        """0 for a task that runs or has finished, its place in the queue, or None for an unknown one."""
        if task_id in {*(task.task_id for task in self.running), *(task.task_id for task in self.finished)}:
            return 0
        return next((n for n, task in enumerate(self.queue, 1) if task.task_id == task_id), None)

    def why_no_room(self, task: str) -> str:
        """Why the queue refuses a task, or nothing."""
        limit = self.settings.system.max_queued_tasks
        if len(self.queue) >= limit:
            return f"the queue is full: {limit} tasks wait ([system] max_queued_tasks); try again later"
        if sum(map(size_of, self.queue)) + size_of(task) > QUEUE_BYTES - 1024:
            return f"the queue is full: {QUEUE_BYTES // 1024} KiB of task text wait; try again later"
        return ""

    def enqueue(self, task: Task) -> None:
        """Put a task into the queue: one of a person before all that the personas set themselves."""
        place = len(self.queue)
        if task.origin != MOTIVATOR:
            place = next((n for n, other in enumerate(self.queue) if other.origin == MOTIVATOR), place)
        self.queue.insert(place, task)

    def next_task(self) -> tuple[RunningTask, str] | None:
        """Take the next task off the queue if the image may start one: as it runs, and its whole text."""
        free = len(self.running) < self.settings.system.max_concurrent_tasks
        if not (self.phase == "active" and self.queue and free):
            return None
        task = self.queue.pop(0)
        block, arm = self.verifying.place() or (None, None)
        settings = self.verifying.settings_of(arm, self.settings)
        running = RunningTask(
            **_excerpt(task),
            settings_digest=settings.digest(),
            heuristics=settings.heuristics(),
            number=self.finished_count + len(self.running),
            block=block,
            arm=arm,
        )
        self.running.append(running)
        self._pin_values(settings)
        return running, task.task

    def finish(self, log: PerformanceLog, failure: str, now: datetime) -> bool:
        """A running task has ended: file it and its log. False when it does not run (any more)."""
        task = next((task for task in self.running if task.task_id == log.task_id), None)
        if task is None:
            return False
        self.running.remove(task)
        self.ledger.note_conditions(log, task.number, now)
        row = self._record(log)
        if task.block is not None and task.arm is not None:
            self.verifying.end_task(task.block, task.arm, log, self.settings)
        self._file_finished(task, log.outcome, failure, now, row or "")
        self.motivation.note_discord(self.settings.motivator, log, task.task)
        return True

    def drop_running(self, task_id: str, failure: str, now: datetime) -> None:
        """A task that never became a dialogue is finished as failed, with the reason and without a log."""
        task = next(task for task in self.running if task.task_id == task_id)
        self.running.remove(task)
        self._file_finished(task, "failed", failure, now)

    def drop_queue(self, failure: str, now: datetime) -> None:
        """Tasks that will never start are finished as failed, with the reason."""
        for task in self.queue:
            self._file_finished(task, "failed", failure, now)
        self.queue = []

    def _file_finished(
        self, task: Task, outcome: Outcome, failure: str, now: datetime, row: str = ""
    ) -> None:
        place = {"block": task.block, "arm": task.arm} if isinstance(task, RunningTask) else {}
        view = TaskView(
            **_excerpt(task),
            **place,
            phase="finished",
            outcome=outcome,
            failure=excerpt(failure, 300),
            finished_at=now,
            row=row,
        )
        self.finished = keep_newest([*self.finished, view], MOST_FINISHED, FINISHED_BYTES)
        self.finished_count += 1
        self.failed_count += outcome == "failed"

    def lost_task_log(self, task_id: str, now: datetime) -> PerformanceLog | None:
        """The log of a running task whose dialogue ended without a word."""
        task = next((task for task in self.running if task.task_id == task_id), None)
        if task is None:
            return None
        return PerformanceLog(
            task_id=task_id,
            task_type=task.task_type,
            final_dissonance=None,
            turn_count=0,
            outcome="failed",
            settings_digest=task.settings_digest,
            active_heuristics=task.heuristics,
            seconds=max(0.0, (now - task.submitted_at).total_seconds()),
            origin=task.origin,
            finished_at=now,
        )

    def task_views(self) -> list[TaskView]:
        """Every task the image still knows, in the order of finishing, running, waiting."""
        alive = [
            TaskView(**_excerpt(task), phase=phase)
            for phase, tasks in (("running", self.running), ("queued", self.queue))
            for task in tasks
        ]
        return [*self.finished, *alive]

    # --- logs ---

    def record_log(self, log: PerformanceLog) -> bool:
        """Put a log into the window. False when a log of its task is there or was there already."""
        return self._record(log) is not None

    def assign(self, task_id: str) -> Assignment:
        """The settings that another program is to use for a task of its own."""
        assignment = self.assigning.assign(task_id, self.verifying, self.settings, self.ledger.revision)
        self._pin_values(self.verifying.settings_of(assignment.arm, self.settings))
        return assignment

    def record_from_outside(self, log: PerformanceLog, now: datetime) -> None:
        """Put another program's log into the window; one that was assigned its settings counts under them."""
        log, assigned = self.assigning.complete(log, now)
        if self.record_log(log) and assigned and assigned.block is not None and assigned.arm is not None:
            self.verifying.end_task(assigned.block, assigned.arm, log, self.settings)

    def _record(self, log: PerformanceLog) -> str | None:
        """Put a log into the window; None for one that does not belong there, else its observations' row."""
        if log.task_id in self.seen_logs or log.origin == TRIAL:
            return None
        self.seen_logs = keep_newest([*self.seen_logs, log.task_id], 200, SEEN_BYTES)
        self.window = keep_newest([*self.window, log], self.settings.cadence.window, WINDOW_BYTES)
        self.logs_since_look += 1
        self.ledger.tally(log)
        for settings in self.verifying.sides(self.settings):
            if log.settings_digest == settings.digest():
                self._pin_values(settings)
        return self.observing.add(log)

    def _pin_values(self, settings: Settings) -> None:
        self.observing.pin(settings.digest(), values_at(settings))

    def put_aside(self, what: str, reason: str, message: object, now: datetime) -> None:
        """Keep a message that did not validate where a person can see it."""
        aside = SetAside(what=what, reason=excerpt(reason, 300), excerpt=excerpt(repr(message), 200), at=now)
        self.set_aside = keep_newest([*self.set_aside, aside], 10, SET_ASIDE_BYTES)

    # --- goals of its own ---

    def next_inquiry(self) -> datetime | None:
        """When the image looks for a goal; None while it has anything else to do, or may not."""
        if self.phase != "active" or self.queue or self.running:
            return None
        return self.motivation.due(self.settings.motivator, self.keeping.active_at or self.started_at)

    def argued_lately(self) -> list[str]:
        """What a new goal must not come near to."""
        return [*(task.task for task in self.finished[-12:]), *self.motivation.recent]

    def conclude_inquiry(self, conclusion: InquiryConcluded, now: datetime) -> None:
        """An inquiry has ended: its goal waits behind all tasks of people, or there is none and why."""
        best = conclusion.best
        refused = "" if best is None else self._why_not_now(best.goal)
        if best is None or refused:
            self.motivation.conclude(f"no goal: {refused or conclusion.reason}")
            return
        number = self.motivation.inquiry.rpartition("/")[2]
        self.motivation.conclude(f"goal-{number}, of {best.persona}", best.goal)
        self.enqueue(
            Task(
                task_id=f"goal-{number}",
                task=best.goal,
                task_type="goal",
                origin=MOTIVATOR,
                reason=excerpt(f"{best.persona}: {best.why}", 300),
                submitted_at=now,
            )
        )

    def _why_not_now(self, goal: str) -> str:
        return f"the image is {self.phase}" if self.phase != "active" else self.why_no_room(goal)

    # --- snapshots ---

    def is_newborn(self) -> bool:
        """Whether nothing has happened yet that anybody could miss."""
        begun = self.finished_count or self.next_loop > 1 or self.motivation.next_number > 1
        return not (
            begun or self.queue or self.running or self.seen_logs or self.ledger.amendments or self.set_aside
        )

    def next_save(self) -> datetime | None:
        """When the image will save itself; None while it is at work, or unchanged since it last tried."""
        keeping = self.keeping
        if self.queue or self.running or self.phase not in ("active", "paused"):
            return None
        if keeping.active_at is None or (keeping.tried_at and keeping.tried_at >= keeping.active_at):
            return None
        return keeping.active_at + self.settings.motivator.idle_after

    # --- reflection ---

    def next_look(self) -> datetime | None:
        """When the image will look at its logs of itself; None while there is nothing to wait for."""
        enough = len(self.window) >= self.settings.cadence.min_logs and self.logs_since_look > 0
        if not enough or self.open_loops or self.verifying.open or self.phase != "active":
            return None
        return (
            self.started_at if self.last_look is None else self.last_look + self.settings.cadence.check_every
        )

    def open_loop(self, now: datetime) -> str:
        """Open the next philosophical loop and return its workflow id."""
        loop_id = loop_workflow_id(self.image_id, self.next_loop)
        self.next_loop += 1
        self.open_loops.append(loop_id)
        self.last_look = now
        self.logs_since_look = 0
        return loop_id

    def note_obstacle(self, news: LoopWaits) -> None:
        """An open loop waits, or does not wait any more."""
        self.obstacles.pop(news.loop_id, None)
        if news.obstacle and news.loop_id in self.open_loops:
            self.obstacles[news.loop_id] = excerpt(news.obstacle, 600)

    def answer(self, update_id: str, loop_id: str) -> None:
        self.answered = dict([*self.answered.items(), (update_id, loop_id)][-20:])

    def conclude(self, conclusion: LoopConcluded, file: SettingsFile | None) -> None:
        """A loop has ended: the ledger, the settings as the file now holds them, the logs it has used up."""
        self.open_loops.remove(conclusion.loop_id)
        self.obstacles.pop(conclusion.loop_id, None)
        self.ledger.file_conclusion(conclusion, file)
        self.observing.add_rows(conclusion.observed)
        # A proposal that a person has judged (or let pass) has used its logs up. Without one they stay.
        if conclusion.state in ("approved", "rejected", "expired"):
            used = set(conclusion.task_ids)
            self.window = [log for log in self.window if log.task_id not in used]


def _excerpt(task: Task) -> dict[str, Any]:
    """What is kept of a task beside its dialogue, which holds all its words."""
    return part(Task, task) | {"task": excerpt(task.task)}
