"""How a loop has a files worker do something: what is in the way is told, and waited out.

Most attempts are the server's own retries, which leave no event in the history. So that the workflow learns
what is in the way now, it asks anew after a while, and ever more rarely: some two hundred rounds in the first
three hours, seven hundred in a week, fewer than two thousand in ten years, each of six events.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType

from workflows.messaging import failure_text
from workflows.orders.files import AT_ONCE
from workflows.orders.terms import Terms

Answer = TypeVar("Answer")

# Sooner than others: whoever approved is told what is in the way, and the order is given anew.
TAKEN_WITHIN = timedelta(seconds=5)
# A file that is just being replaced is there again with the next attempt.
FIRST = RetryPolicy(initial_interval=AT_ONCE.tried_again.initial_interval, maximum_attempts=3)
SHORTEST_ROUND, FIRST_ROUND, LONGEST_ROUND = (timedelta(seconds=seconds) for seconds in (1, 10, 120))
LONGEST_PAUSE = timedelta(minutes=1)
# Two workers may take turns and have each its own to say, which is no news any more after a while.
MOST_NEWS = 20


class StillInTheWay(Exception):
    """The deadline has come; the message says what was in the way."""


async def wait_out(
    order: Callable[[Terms], Awaitable[Answer]], deadline: datetime, tell: Callable[[str], Awaitable[None]]
) -> Answer:
    """What an order to the files worker comes to, however often it is given; `tell`: of what is in the way.

    Raises ActivityError for what no waiting mends, StillInTheWay at the deadline, but not before a first try.
    """
    began, length, before, news = workflow.now(), FIRST_ROUND, "", 0
    terms = _until_taken(TAKEN_WITHIN)
    while True:
        try:
            return await order(terms)
        except ActivityError as error:
            if not _may_pass(error):
                raise
            obstacle, was_taken = failure_text(error, with_type=False), _was_taken(error)
            cut_short = _was_cut_short(error, terms)
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
        terms = _terms(max(min(length, left), SHORTEST_ROUND), was_taken)


def _terms(length: timedelta, was_taken: bool) -> Terms:
    """How long a round lasts, and the pauses in it: growing, and each round begins with longer ones."""
    if not was_taken:
        return _until_taken(length)  # the first word of a worker that comes is news
    pauses = RetryPolicy(initial_interval=min(length / 10, LONGEST_PAUSE), maximum_interval=LONGEST_PAUSE)
    return Terms(closed_within=length, done_within=min(length, AT_ONCE.done_within), tried_again=pauses)


def _until_taken(within: timedelta) -> Terms:
    return Terms(taken_within=within, done_within=AT_ONCE.done_within, tried_again=FIRST)


def _may_pass(error: ActivityError) -> bool:
    """Whether it may go well later on, by itself or once a person has mended something."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return not cause.non_retryable
    return isinstance(cause, TimeoutError)


def _was_taken(error: ActivityError) -> bool:
    return not (isinstance(error.cause, TimeoutError) and error.cause.type == TimeoutType.SCHEDULE_TO_START)


def _was_cut_short(error: ActivityError, terms: Terms) -> bool:
    """Whether a round, the one before the deadline, was too short to tell more than that it was."""
    return isinstance(error.cause, TimeoutError) and terms.done_within < AT_ONCE.done_within
