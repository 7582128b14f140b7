"""How the image supervises its children: starts them, notices when they are lost, files how they ended.

Children outlive the image's runs (parent close policy ABANDON) and tell their end by a signal to its
workflow id. A child that was terminated says nothing: it is awaited in the run that started it and swept for
in later ones.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, ChildWorkflowError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from configuration.team import TEAM
    from messages.common import part
    from messages.goals import InquiryConcluded, InquiryStart
    from messages.loops import Hold, LoopConcluded, LoopStart, Proposal
    from messages.names import HOLD
    from messages.tasks import DialogueStart, Task
    from workflows.adopting import Adopter
    from workflows.details.text import summary
    from workflows.dialogue import Dialogue
    from workflows.image_state import ImageState, RunningTask
    from workflows.inquiry import Inquiry
    from workflows.orders import thinking
    from workflows.philosophical_loop import PhilosophicalLoop

# Children of an earlier run cannot be awaited; they are asked after at once, then ever more rarely.
FIRST_SWEEP, LONGEST_SWEEP = timedelta(minutes=1), timedelta(hours=1)


class Supervisor:
    """Acts for one run of the image on the state it is given; `note_change` wakes the image."""

    def __init__(self, state: ImageState, adopter: Adopter, note_change: Callable[[], None]) -> None:
        self._state = state
        self._adopter = adopter
        self._note_change = note_change
        self._inherited = state.children()
        self._watchers: set[asyncio.Task[None]] = set()

    async def start_dialogues(self) -> None:
        """Start as many queued tasks as the image may run."""
        while task := self._state.next_task():
            await self._start_dialogue(*task)

    async def _start_dialogue(self, task: RunningTask, whole: str) -> None:
        state = self._state
        workflow_id = state.task_workflow_id(task.task_id)
        start = DialogueStart(
            **part(Task, task) | {"task": whole},
            image_id=state.image_id,
            settings=state.verifying.settings_of(task.arm, state.settings),
            settings_digest=task.settings_digest,
            revision=state.ledger.revision,
            arm=task.arm,
        )
        if not await self._start_child(Dialogue.run, start, workflow_id, whole):
            # Older than the image remembers, but the server does: the same task id is the same task.
            state.drop_running(
                task.task_id, f"Duplicate: argued out before, see {workflow_id}", workflow.now()
            )

    async def open_loop(self, reason: str) -> str:
        """Start a philosophical loop over the present window and return its workflow id."""
        state = self._state
        return await self._open_loop(
            f"Reflection: {reason}",
            window=state.window,
            conditions=state.ledger.conditions,
            observations=state.observing.table(),
            past=state.ledger.past(),
            held=state.phase == "paused",
        )

    async def open_reversal(self, reason: str, proposal: Proposal, urgent: bool) -> str:
        """Start a loop that puts the way back before a person; its workflow id."""
        return await self._open_loop(f"Reversal: {reason}", window=[], proposal=proposal, urgent=urgent)

    async def _open_loop(self, purpose: str, **about: Any) -> str:
        state = self._state
        while True:
            loop_id = state.open_loop(workflow.now())
            start = LoopStart(
                image_id=state.image_id,
                loop_id=loop_id,
                settings=state.settings,
                settings_digest=state.ledger.digest,
                **about,
            )
            if await self._start_child(PhilosophicalLoop.run, start, loop_id, purpose):
                return loop_id
            # An earlier image of this name used the number.
            state.open_loops.remove(loop_id)

    async def hold_trials(self) -> None:
        """Tell open loops whether their trials wait: a paused image argues nothing."""
        if not (self._state.open_loops and workflow.patched("hold-trials")):
            return
        for loop_id in self._state.open_loops:
            with contextlib.suppress(ApplicationError):
                loop = workflow.get_external_workflow_handle(loop_id)
                await loop.signal(HOLD, Hold(held=self._state.phase == "paused"))

    async def open_inquiry(self) -> None:
        """Let the personas look for a goal of their own."""
        state = self._state
        while True:
            inquiry_id, reason = state.motivation.open(
                state.image_id, state.settings.motivator, workflow.now()
            )
            start = InquiryStart(
                image_id=state.image_id,
                inquiry_id=inquiry_id,
                reason=reason,
                recent=state.argued_lately(),
                personas=[member.name for member in TEAM],
                settings=state.settings,
            )
            if await self._start_child(Inquiry.run, start, inquiry_id, f"Inquiry: {reason}"):
                return

    def conclude_inquiry(self, conclusion: InquiryConcluded) -> None:
        if conclusion.inquiry_id == self._state.motivation.inquiry:
            self._state.conclude_inquiry(conclusion, workflow.now())
            self._note_change()

    async def _start_child(self, run: Any, start: BaseModel, workflow_id: str, purpose: str) -> bool:
        """Start a child that outlives this run, and watch it. False when the server knows its id already."""
        try:
            handle = await workflow.start_child_workflow(
                run,
                start,
                id=workflow_id,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=summary(purpose),
            )
        except WorkflowAlreadyStartedError:
            return False
        watcher = asyncio.create_task(self._await_child(workflow_id, handle))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return True

    async def _await_child(self, workflow_id: str, handle: workflow.ChildWorkflowHandle[Any, Any]) -> None:
        """Children tell their end by signal, which outlives this run; this notices those that cannot."""
        try:
            await handle
        except ChildWorkflowError as error:
            await self._lose_child(workflow_id, type(error.cause).__name__.removesuffix("Error").lower())
        else:
            await self._lose_child(workflow_id, "closed without a word")

    async def sweep_children_of_earlier_runs(self) -> None:
        def still_in_flight() -> list[str]:
            return [child for child in self._inherited if child in self._state.children()]

        pause = FIRST_SWEEP
        while asked := still_in_flight():
            for child in await thinking.find_closed(asked):
                await self._lose_child(child.workflow_id, child.how)
            with contextlib.suppress(asyncio.TimeoutError):
                await workflow.wait_condition(
                    lambda: not still_in_flight(), timeout=pause, timeout_summary="Until asking again"
                )
            pause = min(pause * 2, LONGEST_SWEEP)

    async def _lose_child(self, workflow_id: str, how: str) -> None:
        """Record the end of a child that did not tell it; nothing to do for one that did."""
        now = workflow.now()
        if workflow_id in self._state.open_loops:
            reason = f"the workflow of this loop ended: {how}"
            await self.conclude_loop(
                LoopConcluded(loop_id=workflow_id, state="failed", reason=reason, decided_at=now)
            )
        elif workflow_id == self._state.motivation.inquiry:
            self.conclude_inquiry(
                InquiryConcluded(inquiry_id=workflow_id, reason=f"the workflow of this inquiry ended: {how}")
            )
        elif log := self._state.lost_task_log(workflow_id.rpartition("/")[2], now):
            self._state.finish(log, f"Lost: the workflow of this task ended: {how}", now)
        self._note_change()

    async def conclude_loop(self, conclusion: LoopConcluded) -> None:
        if conclusion.loop_id not in self._state.open_loops:
            return
        file = await self._adopter.conclude(conclusion)
        if conclusion.state == "stale" and file is not None and not self._state.verifying.open:
            await self.open_loop(f"{conclusion.loop_id} was stale")
        self._note_change()
