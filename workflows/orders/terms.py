"""The terms on which an order is given to an activity."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Terms:
    """How long an order may wait for a worker, take in one attempt and in all; how it is tried again.

    `heartbeat_within`: a worker that sends none for so long is taken for killed.
    """

    done_within: timedelta
    tried_again: RetryPolicy
    taken_within: timedelta | None = None
    closed_within: timedelta | None = None
    heartbeat_within: timedelta | None = None


async def give(
    name: str, *argument: Any, answer: type[Answer], terms: Terms, summary: str, queue: str | None = None
) -> Answer:
    """Order an activity by its name, on a task queue (None: the workflow's own). Raises ActivityError."""
    given: Answer = await workflow.execute_activity(
        name,
        args=argument,
        result_type=answer,
        task_queue=queue,
        schedule_to_start_timeout=terms.taken_within,
        schedule_to_close_timeout=terms.closed_within,
        start_to_close_timeout=terms.done_within,
        heartbeat_timeout=terms.heartbeat_within,
        retry_policy=terms.tried_again,
        summary=summary,
        # The server knows it of the workflow; whoever carries the order out is told only so.
        priority=workflow.info().priority,
    )
    return given
