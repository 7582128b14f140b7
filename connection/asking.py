"""Questions that a worker does not answer yet, asked again: `runtime/workflow_runner.py` has why."""

import asyncio
from typing import Any

from temporalio.client import Interceptor, OutboundInterceptor, QueryWorkflowInput, WorkflowQueryFailedError

from messages.names import ASK_AGAIN

PAUSES_SECONDS = (0.2, 0.5, 1.0, 1.0)
"""The worker takes what was in the way within milliseconds. After a second and a half it answers anyway."""


class AskingAgain(Interceptor):
    """Of a client: its queries are repeated where the answer is to ask again."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Asking(next)


class _Asking(OutboundInterceptor):
    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        for pause_seconds in PAUSES_SECONDS:
            try:
                return await super().query_workflow(input)
            except WorkflowQueryFailedError as error:
                if error.message != ASK_AGAIN:
                    raise
            await asyncio.sleep(pause_seconds)
        return await super().query_workflow(input)
