"""What other programs ask of a living image that tunes them: settings before a task, a log after it."""

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from messages.names import TRIAL
    from messages.requests import AssignSettings
    from messages.tasks import Assignment, LogReceipt, PerformanceLog
    from workflows.image_state import ImageState
    from workflows.messaging import refuse, take


class ProgramUpdates:
    """These updates of `LivingImage`, which has the state."""

    _state: ImageState

    def _note_change(self) -> None:
        raise NotImplementedError

    def _refuse_when_retiring(self) -> None:
        raise NotImplementedError

    @workflow.update(description='Before a task of another program: its settings for {"task_id": "..."}')
    async def assign(self, message: Any = None) -> Assignment:
        task_id = take(AssignSettings, message).task_id
        assert task_id is not None
        return self._state.assign(task_id)

    @assign.validator
    def _check_assign(self, message: Any = None) -> None:
        task_id = take(AssignSettings, message).task_id
        if task_id is None:
            refuse('say for which task: {"task_id": "..."}')
        self._refuse_when_retiring()
        if self._state.position(task_id) is not None:
            refuse(f"{task_id} is a task of the image itself; give yours another name")
        if task_id in self._state.seen_logs:
            refuse(f"the log of {task_id} is in already; give a new task a new name")

    @workflow.update(description="Hand in a performance log from outside")
    async def record_performance(self, message: Any = None) -> LogReceipt:
        self._state.record_from_outside(take(PerformanceLog, message), workflow.now())
        self._note_change()
        return LogReceipt(accepted=True, window=len(self._state.window))

    @record_performance.validator
    def _check_log(self, message: Any = None) -> None:
        if take(PerformanceLog, message).origin == TRIAL:
            refuse("a trial's log belongs to its loop and is no log of the image")
        self._refuse_when_retiring()
