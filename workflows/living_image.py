"""The living image: one entity that owns the state, takes tasks and reflects on how they went."""

import asyncio
import contextlib
import hashlib
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from configuration.passwords import WHERE_PLACES_LOOK, has_password
    from messages.common import Phase
    from messages.files import SnapshotReceipt
    from messages.goals import InquiryConcluded
    from messages.image import ImageStatus, Rated, ReloadReceipt
    from messages.loops import LoopConcluded, LoopReceipt, LoopWaits
    from messages.names import IMAGE_PHASE, SETTINGS_REVISION
    from messages.requests import (
        Approver,
        EndVerification,
        RateTask,
        Reason,
        ReloadSettings,
        RevertSettings,
        SaveImage,
        SubmitTask,
        VerifySettings,
    )
    from messages.tasks import Task, TaskCompleted, TaskReceipt
    from messages.verification import VerificationView
    from workflows import rating
    from workflows.adopting import Adopter
    from workflows.alarm import Alarm
    from workflows.details.image import image_details
    from workflows.image_queries import ImageQueries
    from workflows.image_state import ImageStart, ImageState
    from workflows.image_status import status_of
    from workflows.keeping import Keeper
    from workflows.ledger import Ledger
    from workflows.messaging import outlive_cancellation, refuse, take
    from workflows.program_updates import ProgramUpdates
    from workflows.supervision import Supervisor
    from workflows.verifying import Verifier

RETIRED = "Retired: the image was retired"


@workflow.defn
class LivingImage(ImageQueries, ProgramUpdates):
    @workflow.init
    def __init__(self, start: Any = None) -> None:
        begin = take(ImageStart, start)
        self._state = begin.state or ImageState(
            image_id=workflow.info().workflow_id,
            started_at=workflow.now(),
            ledger=Ledger(settings=begin.settings),
            model_backend=begin.model_backend,
        )
        self._state.keeping.active_at = self._state.keeping.active_at or workflow.now()
        self._adopter = Adopter(self._state, self._note_change)
        self._supervisor = Supervisor(self._state, self._adopter, self._note_change)
        self._keeper = Keeper(self._state, self._wake)
        self._verifier = Verifier(self._state, self._supervisor.open_reversal, self._wake)
        self._changed = False
        self._alarm = Alarm(self._wake)

    @workflow.run
    async def run(self, start: Any = None) -> ImageState:
        return await outlive_cancellation(self._live())

    async def _live(self) -> ImageState:
        # A run that is kept to its version by hand is outdated from its beginning, as the next would be.
        may_be_outdated = not workflow.info().is_target_worker_deployment_version_changed()
        sweep = asyncio.create_task(self._supervisor.sweep_children_of_earlier_runs())
        while not self._has_retired():
            await self._verifier.look()
            await self._supervisor.start_dialogues()
            await self._look_at_logs_if_due()
            await self._look_for_a_goal_if_due()
            if self._alarm.is_due(self._keeper.due()):
                self._keeper.save_soon()
            self._show()
            now = workflow.info()
            outdated = may_be_outdated and now.is_target_worker_deployment_version_changed()
            if outdated or now.is_continue_as_new_suggested():
                await self._continue_as_new()
            await self._wait_for_a_change()
        await self._keeper.save_a_last_time()
        self._show()
        sweep.cancel()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._state

    # --- life ---

    async def _wait_for_a_change(self) -> None:
        """Until a message changes the state or the alarm rings; with nothing due there is no alarm."""
        dues = {
            "Until the next look at the logs": self._state.next_look(),
            "Until the personas look for a goal": self._state.next_inquiry(),
            "Until the image saves itself": self._keeper.due(),
        }
        self._alarm.set(dues, soon_anew=bool(self._state.queue or self._state.running))
        await workflow.wait_condition(lambda: self._changed)
        self._changed = False

    async def _look_at_logs_if_due(self) -> None:
        if self._alarm.is_due(self._state.next_look()):
            await self._supervisor.open_loop("the window holds enough logs")

    async def _look_for_a_goal_if_due(self) -> None:
        if self._alarm.is_due(self._state.next_inquiry()):
            await self._supervisor.open_inquiry()

    def _has_retired(self) -> bool:
        if self._state.phase == "retiring" and not self._state.children():
            self._state.phase = "retired"
        return self._state.phase == "retired"

    def _show(self) -> None:
        workflow.set_current_details(image_details(self._state))
        shown = workflow.info().typed_search_attributes
        if shown.get(IMAGE_PHASE) != self._state.phase:
            workflow.upsert_search_attributes([IMAGE_PHASE.value_set(self._state.phase)])
        if shown.get(SETTINGS_REVISION) != self._state.ledger.revision:
            workflow.upsert_search_attributes([SETTINGS_REVISION.value_set(self._state.ledger.revision)])

    async def _continue_as_new(self) -> None:
        # A handler that is cut off here would lose its update; children live on and signal by workflow id.
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._state.runs += 1
        workflow.continue_as_new(
            ImageStart(settings=self._state.settings, state=self._state),
            # With the version of the program that is current, should workers be pinned to theirs.
            initial_versioning_behavior=workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
        )

    # --- updates ---

    @workflow.update(description='Give the image a task: {"task": "...", "task_id"?, "task_type"?}')
    async def submit_task(self, message: Any = None) -> TaskReceipt:
        request = take(SubmitTask, message)
        task_id = request.task_id or _name_after_update()
        if self._state.position(task_id) is None:
            self._state.enqueue(
                Task(
                    task_id=task_id,
                    task=request.task,
                    task_type=request.task_type,
                    origin="person",
                    submitted_at=workflow.now(),
                    trace=request.trace,
                )
            )
            self._note_change()
        return TaskReceipt(
            task_id=task_id,
            workflow_id=self._state.task_workflow_id(task_id),
            position=self._state.position(task_id) or 0,
        )

    @submit_task.validator
    def _check_task(self, message: Any = None) -> None:
        request = take(SubmitTask, message)
        if self._state.position(request.task_id or _name_after_update()) is not None:
            return
        if not request.task.strip():
            refuse('a task needs words: {"task": "your question"}')
        self._refuse_when_retiring()
        if reason := self._state.why_no_room(request.task):
            refuse(reason, "QueueFull")

    @workflow.update(
        description='What you think of an answer: {"task_id": "...", "rating": 0..1, "comment"?, "rated_by"?}'
    )
    async def rate_task(self, message: Any = None) -> Rated:
        rating.rate(self._state, take(RateTask, message))
        self._note_change()
        return Rated(accepted=True)

    @rate_task.validator
    def _check_rating(self, message: Any = None) -> None:
        if reason := rating.why_not(self._state, take(RateTask, message)):
            refuse(reason)

    @workflow.update(description='Look at the logs now: nothing, or {"reason": "..."}')
    async def reflect(self, message: Any = None) -> LoopReceipt:
        request = take(Reason, message)
        key = _name_after_update()
        loop_id = self._state.answered.get(key)
        if loop_id is None:
            open_loops = self._state.open_loops
            loop_id = (
                open_loops[0]
                if open_loops
                else await self._supervisor.open_loop(request.reason or "a person asked")
            )
            self._state.answer(key, loop_id)
        return LoopReceipt(loop_id=loop_id)

    @reflect.validator
    def _check_reflect(self, message: Any = None) -> None:
        take(Reason, message)
        self._refuse_when_retiring()
        if not self._state.open_loops and (reason := self._state.verifying.why_not_reflect()):
            refuse(reason)

    @workflow.update(description="Read settings.toml again and adopt a person's edit of it")
    async def reload_settings(self, message: Any = None) -> ReloadReceipt:
        request = take(ReloadSettings, message)
        self._state.model_backend = request.model_backend or self._state.model_backend
        changed = await self._adopter.adopt_edit()
        return self._reloaded(changed)

    @reload_settings.validator
    def _check_reload(self, message: Any = None) -> None:
        take(ReloadSettings, message)

    @workflow.update(
        description='Back to the settings of an earlier revision: {"revision": 3, "approver": "your name"}'
    )
    async def revert_settings(self, message: Any = None) -> ReloadReceipt:
        request = take(RevertSettings, message)
        changed = await self._adopter.revert(request)
        return self._reloaded(changed)

    @revert_settings.validator
    def _check_revert(self, message: Any = None) -> None:
        request = take(RevertSettings, message)
        if not request.approver:
            refuse('say who decides: "approver": "your name"')
        self._adopter.changes_of_revert(request.revision)

    @workflow.update(
        description='Verify your own change of the settings: nothing for the latest, or {"revision": 3}'
    )
    async def verify_settings(self, message: Any = None) -> VerificationView | None:
        self._verifier.verify_edit(take(VerifySettings, message))
        self._note_change()
        return self._state.verifying.view()

    @verify_settings.validator
    def _check_verify(self, message: Any = None) -> None:
        self._refuse_when_retiring()
        self._verifier.edit_to_verify(take(VerifySettings, message))

    @workflow.update(
        description='End a verification: {"action": "accept" or "revert", "approver": "you", "comment"?}'
    )
    async def end_verification(self, message: Any = None) -> VerificationView | None:
        request = take(EndVerification, message)
        current = self._verifier.to_end(request)
        if request.action == "revert":
            await self._adopter.take_back(current, request)
        self._verifier.end(current, request)
        self._note_change()
        return self._state.verifying.view()

    @end_verification.validator
    def _check_end(self, message: Any = None) -> None:
        self._verifier.to_end(take(EndVerification, message))

    @workflow.update(description='Save a snapshot now: nothing, or {"path": "a folder or URL"}')
    async def save_image(self, message: Any = None) -> SnapshotReceipt:
        return await self._keeper.save(take(SaveImage, message).path)

    @save_image.validator
    def _check_save(self, message: Any = None) -> None:
        if has_password(take(SaveImage, message).path):
            refuse(f"path holds a password, which would stand in the history; {WHERE_PLACES_LOOK}")

    @workflow.update(description='Start no more tasks; running ones go on: nothing, or {"reason": "..."}')
    async def pause(self, message: Any = None) -> ImageStatus:
        status = self._enter_phase("paused")
        await self._supervisor.hold_trials()
        return status

    @workflow.update(description='Start tasks again: nothing, or {"reason": "..."}')
    async def resume(self, message: Any = None) -> ImageStatus:
        status = self._enter_phase("active")
        await self._supervisor.hold_trials()
        return status

    @workflow.update(
        description='End this image for good once its running tasks are done: nothing, or {"reason": "..."}'
    )
    async def retire(self, message: Any = None) -> ImageStatus:
        reason = take(Reason, message).reason
        status = self._enter_phase("retiring")
        self._state.drop_queue(f"{RETIRED}. {reason}".strip(), workflow.now())
        for loop_id in self._state.open_loops:
            with contextlib.suppress(ApplicationError):
                loop = workflow.get_external_workflow_handle(loop_id)
                await loop.signal("reject", Approver(approver=self._state.image_id, comment=RETIRED))
        return status

    @pause.validator
    def _check_pause(self, message: Any = None) -> None:
        take(Reason, message)
        self._refuse_when_retiring()

    @resume.validator
    def _check_resume(self, message: Any = None) -> None:
        self._check_pause(message)

    @retire.validator
    def _check_retire(self, message: Any = None) -> None:
        self._check_pause(message)

    # --- signals from the children; anybody may send them, twice or malformed ---
    # `*_`: a signal cannot be refused, and an argument too many would fail the workflow task for ever.

    @workflow.signal(description="From a dialogue: its task is done, with its log")
    def task_completed(self, message: Any = None, *_: Any) -> None:
        now = workflow.now()
        self._note_change()
        try:
            done = take(TaskCompleted, message)
        except ApplicationError as error:
            self._state.put_aside("task_completed", error.message, message, now)
            return
        if self._state.position(done.task_id) is None or done.log.task_id != done.task_id:
            self._state.put_aside("task_completed", f"no task {done.task_id} runs here", message, now)
        elif self._state.finish(done.log, done.failure, now):
            self._state.model_backend = done.model_backend or self._state.model_backend

    @workflow.signal(description="From an inquiry: the goal that the personas chose, or why there is none")
    def inquiry_concluded(self, message: Any = None, *_: Any) -> None:
        self._changed = True
        try:
            conclusion = take(InquiryConcluded, message)
        except ApplicationError as error:
            self._state.put_aside("inquiry_concluded", error.message, message, workflow.now())
            return
        self._supervisor.conclude_inquiry(conclusion)

    @workflow.signal(description="From a philosophical loop: how it ended")
    async def loop_concluded(self, message: Any = None, *_: Any) -> None:
        try:
            conclusion = take(LoopConcluded, message)
        except ApplicationError as error:
            self._state.put_aside("loop_concluded", error.message, message, workflow.now())
            self._note_change()
            return
        await self._supervisor.conclude_loop(conclusion)

    @workflow.signal(description="From a philosophical loop: what keeps it from settings.toml, or nothing")
    def loop_waits(self, message: Any = None, *_: Any) -> None:
        try:
            self._state.note_obstacle(take(LoopWaits, message))
        except ApplicationError as error:
            self._state.put_aside("loop_waits", error.message, message, workflow.now())
        self._wake()

    # --- helpers ---

    def _reloaded(self, changed: bool) -> ReloadReceipt:
        ledger = self._state.ledger
        return ReloadReceipt(revision=ledger.revision, digest=ledger.digest, changed=changed)

    def _note_change(self) -> None:
        """Something happened: the image is not idle, and looks at itself again."""
        self._state.keeping.active_at = workflow.now()
        self._wake()

    def _wake(self) -> None:
        self._changed = True

    def _enter_phase(self, phase: Phase) -> ImageStatus:
        self._state.phase = phase
        self._note_change()
        return status_of(self._state)

    def _refuse_when_retiring(self) -> None:
        if self._state.phase in ("retiring", "retired"):
            refuse(f"{self._state.image_id} is {self._state.phase}; start an image to give it tasks")


def _name_after_update() -> str:
    """A name that is the same whenever the same update is sent again, even to a later run."""
    update = workflow.current_update_info()
    assert update is not None
    return hashlib.sha256(update.id.encode()).hexdigest()[:12]
