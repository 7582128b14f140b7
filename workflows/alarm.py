"""A timer that is set as seldom as may be: each one that is set and cancelled is two events of a history."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from temporalio import workflow

LONG_AGO = datetime.min.replace(tzinfo=UTC)
WHAT_RANG_IS_DUE = "what-rang-is-due"
"""A timer may ring for a query, before its workflow task: the time is then that of the last one."""


class Alarm:
    """Rings when the first of several things is due; with nothing due there is no timer."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.Task[None] | None = None
        self._set_for: datetime | None = None
        self._rung_for = LONG_AGO

    def is_due(self, at: datetime | None) -> bool:
        """Whether that time has come."""
        return at is not None and at <= max(workflow.now(), self._rung_for)

    def set(self, dues: Mapping[str, datetime | None], *, soon_anew: bool) -> None:
        """Ring when the first is due. `soon_anew`: what is due now says little, for it changes soon."""
        due, why = min(((at, why) for why, at in dues.items() if at), default=(None, ""))
        if due == self._set_for or self._will_do(due, soon_anew):
            return
        if self._timer:
            self._timer.cancel()
        self._set_for = due
        self._timer = asyncio.create_task(self._ring_at(due, why)) if due else None

    def _will_do(self, due: datetime | None, soon_anew: bool) -> bool:
        """Whether the timer ends soon enough; where it ends too early, it is set anew then.

        While tasks run nothing is due, and after each the same is, a little later: that is no new timer.
        """
        if self._timer is None or self._set_for is None or self._timer.done():
            return False
        return (self._set_for <= due if due else soon_anew) and workflow.patched("one-alarm")

    async def _ring_at(self, due: datetime, why: str) -> None:
        await workflow.sleep(max(due - workflow.now(), timedelta(0)), summary=why)
        if workflow.patched(WHAT_RANG_IS_DUE):
            self._rung_for = due
        self._ring()
