"""A look at a change under verification: what it found stands in the image's history."""

from temporalio import activity

from messages.verification import Look, Looking
from optimizer.verdict import look_at, normal_posterior


@activity.defn
async def look_at_change(wanted: Looking) -> Look:
    """The gain so far with its interval, the t test's p, and the posterior probability of a gain."""
    return look_at(wanted.differences, normal_posterior(wanted.expected))
