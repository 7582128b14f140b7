"""How a workflow is asked and told something, and answers: typed answers or a Problem."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import BaseModel
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from connection.codec import speaking_to
from connection.plain_words import Addressee, in_plain_words
from connection.problems import Problem
from connection.server import target

# A worker answers in milliseconds; one that was just restarted may have a long history to read first.
ANSWER_WITHIN = timedelta(seconds=15)
# Carrying out what was accepted takes a few file operations, tried again for half a minute.
CARRY_OUT_WITHIN = timedelta(seconds=60)

# The next run of an image takes an update within a few milliseconds of the end of the last.
RESEND_AFTER_SECONDS = (0.2, 0.5, 1.0)
# The server hands it back where a run just ends, and where ten others are under way.
SENT_AGAIN = (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.RESOURCE_EXHAUSTED)

PASSED_OVER = "UnprocessedUpdate"
"""The server's own refusal of an update that reached a worker whose answer did not mention it.

That happens while worker or server are killed. Nothing was taken, and the update may be sent again.
"""

Answer = TypeVar("Answer")


def was_passed_over(error: WorkflowUpdateFailedError) -> bool:
    """Whether nobody has refused an update, although the server says that it is rejected."""
    return isinstance(error.cause, ApplicationError) and error.cause.type == PASSED_OVER


class Line:
    """The line to one workflow. `to` is what it is called, and what to say where there is none."""

    def __init__(self, client: Client, handle: WorkflowHandle[Any, Any], to: Addressee) -> None:
        self._client = client
        self._server = target(client)
        self._handle = handle
        self._to = to

    async def ask(self, query: str, answer: type[Answer]) -> Answer:
        """The answer to a query."""
        with in_plain_words(self._server, self._to):
            result: Answer = await self._handle.query(query, result_type=answer, rpc_timeout=ANSWER_WITHIN)
        return result

    async def tell(
        self,
        update: str,
        request: BaseModel,
        answer: type[Answer],
        *,
        watch: Callable[[], Coroutine[Any, Any, str]] | None = None,
    ) -> Answer:
        """Send an update and wait for its answer; `watch` may end first, with why there is none yet."""
        with in_plain_words(self._server, self._to):
            speaking = await speaking_to(self._client, self._handle.id)
            send = partial(_sent, speaking.get_workflow_handle(self._handle.id), update, request, answer)
            accepted = await send()
            # Not under asyncio.timeout: what the client makes of its end reads as if no worker answered.
            answering = asyncio.ensure_future(_answered(accepted, send))
            watching = [asyncio.ensure_future(watch())] if watch else []
            try:
                await asyncio.wait(
                    [answering, *watching],
                    timeout=CARRY_OUT_WITHIN.total_seconds(),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not answering.done():
                    at_work = (
                        f"{self._to.name} has taken this and is still at work on it. "
                        "Does a worker with --role files run? See: python starter.py status"
                    )
                    raise Problem(watching[0].result() if watching and watching[0].done() else at_work)
                return answering.result()
            finally:
                for task in (answering, *watching):
                    task.cancel()


async def _answered(
    accepted: WorkflowUpdateHandle[Answer], send: Callable[[], Awaitable[WorkflowUpdateHandle[Answer]]]
) -> Answer:
    """The answer to an update; it is sent again if it was passed over."""
    for pause_seconds in RESEND_AFTER_SECONDS:
        try:
            return await accepted.result()
        except WorkflowUpdateFailedError as error:
            if not was_passed_over(error):
                raise
        await asyncio.sleep(pause_seconds)
        accepted = await send()
    return await accepted.result()


async def _sent(
    handle: WorkflowHandle[Any, Any], update: str, request: BaseModel, answer: type[Answer]
) -> WorkflowUpdateHandle[Answer]:
    """The handle of an accepted update; sent again, under the same id, if the image just continues as new."""
    update_id = uuid4().hex
    pauses = iter(RESEND_AFTER_SECONDS)
    while True:
        try:
            return await handle.start_update(
                update,
                request,
                id=update_id,
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                result_type=answer,
                rpc_timeout=ANSWER_WITHIN,
            )
        except RPCError as error:
            pause_seconds = next(pauses, None)
            if error.status not in SENT_AGAIN or pause_seconds is None:
                raise
            await asyncio.sleep(pause_seconds)
