"""The server's clock against this machine's.

No call of Temporal's simply tells the time. But the server notes, by its own clock, when a poller last asked
for work. So one poll is begun on a task queue of its own, and the queue is described until it shows up there:
the noted time lies between the moments at which the poll was sent and first seen.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from connection.pollers import pollers_of

# A poll shows up within milliseconds; this ends one that nobody has seen. The server's log warns below 10 s.
POLL_WITHIN = timedelta(seconds=15)
LOOK_EVERY_SECONDS = 0.005


class Offset(NamedTuple):
    """How far the server's clock is ahead of ours, and how far off that may be."""

    ahead: timedelta
    give_or_take: timedelta


def _utc_now() -> datetime:
    return datetime.now(UTC)


async def measure_offset(client: Client, task_queue: str, now: Callable[[], datetime] = _utc_now) -> Offset:
    """Measure it on `<task_queue>-clock`. Raises RPCError where the server lets nobody poll there."""
    queue = f"{task_queue}-clock"
    identity = f"doctor-{uuid4().hex}"
    sent = now()
    poll = asyncio.create_task(
        client.workflow_service.poll_activity_task_queue(
            PollActivityTaskQueueRequest(
                namespace=client.namespace, task_queue=TaskQueue(name=queue), identity=identity
            ),
            timeout=POLL_WITHIN,
        )
    )
    try:
        while (noted := await _noted(client, queue, identity)) is None:
            if poll.done():
                poll.result()
                raise TimeoutError
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        half = (now() - sent) / 2
        return Offset(noted - (sent + half), half)
    finally:
        poll.cancel()
        with suppress(RPCError, asyncio.CancelledError):
            await poll


async def _noted(client: Client, queue: str, identity: str) -> datetime | None:
    pollers = await pollers_of(client, queue)
    times = (poller.last_access_time for poller in pollers if poller.identity == identity)
    return next((time.ToDatetime(UTC) for time in times), None)
