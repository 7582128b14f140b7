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
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    TimeoutError,
    WorkflowAlreadyStartedError,
)

with workflow.unsafe.imports_passed_through():
    from activities.children import Children
    from activities.settings import SettingsFiles
    from messages.common import excerpt
    from messages.files import Rewrite, RewriteReceipt, SettingsFile
    from messages.goals import InquiryConcluded, InquiryStart
    from messages.image import ClosedChild
    from messages.loops import Change, LoopConcluded, LoopStart
    from messages.names import files_queue
    from messages.requests import RevertSettings
    from messages.tasks import DialogueStart
    from workflows.details.text import summary
    from workflows.dialogue import Dialogue
    from workflows.image_state import ImageState, QueuedTask
    from workflows.inquiry import Inquiry
    from workflows.ledger import NoWayBack, UnheardRevert
    from workflows.messaging import RETRY_FILES, failure_text, refuse
    from workflows.philosophical_loop import PhilosophicalLoop

# Children of an earlier run cannot be awaited; they are asked after at once, then ever more rarely.
FIRST_SWEEP, LONGEST_SWEEP = timedelta(minutes=1), timedelta(hours=1)
# A file is read in milliseconds. Without a files worker the person who asked hears of it in half a minute.
FILE_TIMEOUT = timedelta(seconds=30)


class Supervisor:
    """Acts for one run of the image on the state it is given; `note_change` wakes the image."""

    def __init__(self, state: ImageState, note_change: Callable[[], None]) -> None:
        self._state = state
        self._note_change = note_change
        self._inherited = state.children()
        self._watchers: set[asyncio.Task[None]] = set()
        # Two readings of settings.toml at once could adopt the same edit twice.
        self._reading_file = asyncio.Lock()

    async def start_dialogues(self) -> None:
        """Start as many queued tasks as the image may run."""
        while task := self._state.next_task():
            await self._start_dialogue(task)

    async def _start_dialogue(self, task: QueuedTask) -> None:
        state = self._state
        workflow_id = state.task_workflow_id(task.task_id)
        start = DialogueStart(
            image_id=state.image_id,
            task_id=task.task_id,
            submitted_at=task.submitted_at,
            task=task.task,
            task_type=task.task_type,
            origin=task.origin,
            settings=state.settings,
            settings_digest=state.digest,
            revision=state.revision,
        )
        if not await self._start_child(Dialogue.run, start, workflow_id, task.task):
            # Older than the image remembers, but the server does: the same task id is the same task.
            state.drop_running(
                task.task_id, f"Duplicate: argued out before, see {workflow_id}", workflow.now()
            )

    async def open_loop(self, reason: str) -> str:
        """Start a philosophical loop over the present window and return its workflow id."""
        state = self._state
        while True:
            loop_id = state.open_loop(workflow.now())
            start = LoopStart(
                image_id=state.image_id,
                loop_id=loop_id,
                reason=reason,
                window=state.window,
                settings=state.settings,
                settings_digest=state.digest,
                revision=state.revision,
            )
            if await self._start_child(PhilosophicalLoop.run, start, loop_id, f"Reflection: {reason}"):
                return loop_id
            # An earlier image of this name used the number.
            state.open_loops.remove(loop_id)

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
        self._watch(workflow_id, handle)
        return True

    def _watch(self, workflow_id: str, handle: workflow.ChildWorkflowHandle[Any, Any]) -> None:
        watcher = asyncio.create_task(self._await_child(workflow_id, handle))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

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
            closed: list[ClosedChild] = await workflow.execute_activity_method(
                Children.find_closed,
                asked,
                start_to_close_timeout=timedelta(minutes=1),
                summary="Ask after the children of an earlier run",
            )
            for child in closed:
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
        async with self._reading_file:
            if conclusion.loop_id not in self._state.open_loops:
                return
            file = None
            if conclusion.state not in ("no_proposal", "rejected", "expired"):
                with contextlib.suppress(ApplicationError):
                    file = await self._read_file()
            self._state.conclude(conclusion, file)
        if conclusion.state == "stale" and file is not None:
            await self.open_loop(f"{conclusion.loop_id} was stale")
        self._note_change()

    async def adopt_file(self) -> bool:
        """Take over a person's edit of settings.toml; false when there is none. Refuses a broken one."""
        async with self._reading_file:
            file = await self._read_file()
            if (file.rewritten_by or file.last_loop) in self._state.open_loops:
                # What a loop has just written is not a person's edit; the loop will say so itself.
                return False
            return self._state.adopt_file(file, workflow.now())

    def changes_of_revert(self, revision: int) -> list[Change]:
        """What going back to an earlier revision changes. Refuses one that cannot be gone back to."""
        try:
            return self._state.changes_back_to(revision)
        except NoWayBack as error:
            refuse(str(error))

    async def revert(self, request: RevertSettings) -> bool:
        """Rewrite settings.toml to an earlier revision by a person's order, and adopt it as theirs."""
        async with self._reading_file:
            order = Rewrite(
                loop_id=f"{self._state.image_id}/revert/{request.revision}/{self._state.revision}",
                changes=self.changes_of_revert(request.revision),
                by_person=True,
            )
            source = f"revert to revision {request.revision}"
            try:
                receipt: RewriteReceipt = await workflow.execute_activity_method(
                    SettingsFiles.rewrite_settings,
                    order,
                    task_queue=files_queue(workflow.info().task_queue),
                    start_to_close_timeout=timedelta(seconds=10),
                    schedule_to_close_timeout=FILE_TIMEOUT,
                    retry_policy=RETRY_FILES,
                    summary=f"Rewrite settings.toml to revision {request.revision}",
                )
            except ActivityError as error:
                if isinstance(error.cause, TimeoutError):
                    # Its worker may have died after the rewrite; then the file will say so.
                    self._state.unheard = UnheardRevert(
                        order=order.loop_id, source=source, by=request.approver, comment=request.comment
                    )
                refuse(failure_text(error), "InvalidSettings")
            if receipt.stale:
                refuse(f"settings.toml says otherwise by now: {', '.join(receipt.stale)}; look at it again")
            changed = self._state.adopt_edit(
                receipt.settings,
                request.approver,
                workflow.now(),
                source=source,
                comment=request.comment,
            )
        self._note_change()
        return changed

    async def _read_file(self) -> SettingsFile:
        """settings.toml as it stands; an edit that breaks a rule is refused and remembered for `status`."""
        try:
            file: SettingsFile = await workflow.execute_activity_method(
                SettingsFiles.read_settings,
                task_queue=files_queue(workflow.info().task_queue),
                start_to_close_timeout=timedelta(seconds=10),
                schedule_to_close_timeout=FILE_TIMEOUT,
                retry_policy=RETRY_FILES,
                summary="Read settings.toml",
            )
        except ActivityError as error:
            self._state.settings_problem = excerpt(failure_text(error), 1_000)
        else:
            self._state.settings_problem = self._state.why_not_mine(file.settings)
        self._note_change()
        if self._state.settings_problem:
            refuse(self._state.settings_problem, "InvalidSettings")
        return file
