"""Brings the memory up to date while a dialogue is being planned, so that its recall finds the work done."""

from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.memory.recall import Memory
from messages.calls import PersonaCall
from messages.names import task_of

PLANNING = "plan"
"""The first call of a dialogue. Whether it needs research is known only when it has been answered."""


class Foresight(Interceptor):
    """Sees the calls that begin on a worker."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Calls(next, self._memory)


class _Calls(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, memory: Memory) -> None:
        super().__init__(next)
        self._memory = memory

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        call = input.args[0] if input.args else None
        if info.activity_type == PLANNING and info.workflow_id and isinstance(call, PersonaCall):
            image_id, task_id = task_of(info.workflow_id)
            self._memory.foresee(image_id, task_id, call.fields.get("task", ""))
        return await super().execute_activity(input)
