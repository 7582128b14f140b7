"""How a loop has a files worker do something: what is in the way is told, and waited out.

Most attempts are the server's own retries, which leave no event in the history. So that the workflow learns
what is in the way now, it asks anew after a while, and ever more rarely: some two hundred rounds in the first
three hours, seven hundred in a week, fewer than two thousand in ten years, each of six events.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType

from messages.names import files_queue
from workflows.messaging import RETRY_FILES, failure_text

# A file is read or written in milliseconds. After that, whoever approved is told what is in the way.
TAKEN_WITHIN, DONE_WITHIN = timedelta(seconds=5), timedelta(seconds=10)
# A file that is just being replaced is there again with the next attempt.
FIRST = RetryPolicy(initial_interval=RETRY_FILES.initial_interval, maximum_attempts=3)
SHORTEST_ROUND, FIRST_ROUND, LONGEST_ROUND = (timedelta(seconds=seconds) for seconds in (1, 10, 120))
LONGEST_PAUSE = timedelta(minutes=1)
# Two workers may take turns and have each its own to say, which is no news any more after a while.
MOST_NEWS = 20


class StillInTheWay(Exception):
    """The deadline has come; the message says what was in the way."""


async def wait_out(
    activity: Any, order: Any, summary: str, deadline: datetime, tell: Callable[[str], Awaitable[None]]
) -> Any:
    """What an activity of the files worker comes to, however often it has to be tried.

    `tell` is given what is in the way, after each round. Raises ActivityError for what no waiting mends, and
    StillInTheWay at the deadline; the first attempts have their chance all the same.
    """
    began, length, before, news = workflow.now(), FIRST_ROUND, "", 0
    limits = _until_taken(TAKEN_WITHIN)
    while True:
        try:
            return await workflow.execute_activity_method(
                activity,
                order,
                task_queue=files_queue(workflow.info().task_queue),
                summary=summary,
                **limits,
            )
        except ActivityError as error:
            if not _may_pass(error):
                raise
            obstacle, was_taken = failure_text(error, with_type=False), _was_taken(error)
            cut_short = _was_cut_short(error, limits)
        await tell(obstacle)
        left = deadline - workflow.now()
        if left <= timedelta(0):
            raise StillInTheWay(before if before and cut_short else obstacle)
        # When something else is in the way than before, somebody is at work on it: look closely again.
        longest = max(LONGEST_ROUND, (workflow.now() - began) / 100)
        news += obstacle != before
        is_news = obstacle != before and news <= MOST_NEWS
        length = FIRST_ROUND if is_news else min(2 * length, longest)
        before = obstacle
        limits = _limits(max(min(length, left), SHORTEST_ROUND), was_taken)


def _limits(length: timedelta, was_taken: bool) -> dict[str, Any]:
    """How long a round lasts, and the pauses in it: growing, and each round begins with longer ones."""
    if not was_taken:
        return _until_taken(length)  # the first word of a worker that comes is news
    return {
        "schedule_to_close_timeout": length,
        "start_to_close_timeout": min(length, DONE_WITHIN),
        "retry_policy": RetryPolicy(
            initial_interval=min(length / 10, LONGEST_PAUSE), maximum_interval=LONGEST_PAUSE
        ),
    }


def _until_taken(within: timedelta) -> dict[str, Any]:
    return {
        "schedule_to_start_timeout": within,
        "start_to_close_timeout": DONE_WITHIN,
        "retry_policy": FIRST,
    }


def _may_pass(error: ActivityError) -> bool:
    """Whether it may go well later on, by itself or once a person has mended something."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return not cause.non_retryable
    return isinstance(cause, TimeoutError)


def _was_taken(error: ActivityError) -> bool:
    return not (isinstance(error.cause, TimeoutError) and error.cause.type == TimeoutType.SCHEDULE_TO_START)


def _was_cut_short(error: ActivityError, limits: dict[str, Any]) -> bool:
    """Whether a round, the one before the deadline, was too short to tell more than that it was."""
    return isinstance(error.cause, TimeoutError) and limits["start_to_close_timeout"] < DONE_WITHIN
