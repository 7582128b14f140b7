"""Brings the memory up to date while a dialogue is being planned, so that its recall finds the work done.

And listens to what it comes to, so that the memory need not read it in the history.
"""

from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.memory.recall import Memory
from messages.calls import PersonaCall, Speech
from messages.names import task_of

PLANNING = "plan"
"""The first call of a dialogue. Whether it needs research is known only when it has been answered."""


SYNTHESIS = "synthesis"
"""The words of the last one. A repeated one is not listened to: the server may have taken the first."""


class Foresight(Interceptor):
    """Sees the calls of a worker."""

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
        if not isinstance(call, PersonaCall) or not info.workflow_id or not info.workflow_run_id:
            return await super().execute_activity(input)
        task = call.fields.get("task", "")
        image_id, task_id = task_of(info.workflow_id)
        if not image_id:  # a trial, which is not remembered
            return await super().execute_activity(input)
        if info.activity_type == PLANNING:
            self._memory.foresee(image_id, task_id, task)
        answer = await super().execute_activity(input)
        if call.words == SYNTHESIS and info.attempt == 1 and isinstance(answer, Speech):
            self._memory.hear(info.workflow_id, info.workflow_run_id, task, answer.text)
        return answer
