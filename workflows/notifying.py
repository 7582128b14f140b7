"""How a loop has a person told that it waits for them. Nothing waits for that; its failure hurts nothing."""

import asyncio
from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from messages.loops import ProposalView
    from messages.notices import Notice
    from workflows.messaging import failure_text
    from workflows.orders import files


class Notifying:
    """Of one loop. `tell`: what came of it, in words."""

    def __init__(self, image_id: str, tell: Callable[[str], None]) -> None:
        self._image_id = image_id
        self._tell = tell
        self._running: asyncio.Task[None] | None = None

    def begin(self, view: ProposalView) -> None:
        """Tell of what waits now, and of a proposal once again at half of its time."""
        if self._running is None and workflow.patched("notify-person"):
            self._running = asyncio.create_task(self._notify(self._notice(view)))

    def stop(self) -> None:
        """It waits no more."""
        if self._running is not None:
            self._running.cancel()
            self._running = None

    async def _notify(self, notice: Notice) -> None:
        half = (notice.expires_at - workflow.now()) / 2 if notice.expires_at else None
        if not await self._once(notice) or half is None:
            return
        await workflow.sleep(half, summary="Until a person is told again")
        await self._once(notice.model_copy(update={"reminder": True}))

    async def _once(self, notice: Notice) -> bool:
        """Whether to tell them again later: settings.toml names a way, and it waits still."""
        try:
            told = await files.notify_person(notice)
        except ActivityError as error:
            if is_cancelled_exception(error):
                # What waits no more is not told of again.
                return not workflow.patched("stopped-notice-ends")
            self._tell(f"nobody could be told: {failure_text(error, with_type=False)}")
            return True
        if told.by:
            again = " again" if notice.reminder else ""
            self._tell(f"a person was told{again} by {told.by}, {workflow.now():%Y-%m-%d %H:%M} UTC")
        return bool(told.by)

    def _notice(self, view: ProposalView) -> Notice:
        return Notice(
            image_id=self._image_id,
            loop_id=view.loop_id,
            digest=view.digest,
            changes=view.changes,
            expected=str(view.effect) if view.effect else "",
            expires_at=view.expires_at,
            obstacle=bool(view.obstacle),
            urgent=view.urgent,
        )
