"""How the image keeps itself: a snapshot when it is idle, when somebody asks, and as its last act.

Its history is the record; a snapshot is a copy to carry elsewhere. So one that fails is told and no more: the
image lives on, and tries again only after something has happened.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from messages.common import excerpt
    from messages.files import SnapshotOrder, SnapshotReceipt
    from workflows.image_state import ImageState
    from workflows.messaging import failure_text, refuse_failed
    from workflows.orders import files


class Keeper:
    """Acts for one run of the image on the state it is given; `wake` makes the image look at it again."""

    def __init__(self, state: ImageState, wake: Callable[[], None]) -> None:
        self._state = state
        self._wake = wake
        self._one_at_a_time = asyncio.Lock()
        self._autosave: asyncio.Task[None] | None = None

    def due(self) -> datetime | None:
        """When the image saves itself; a newborn never, or it would push an older one out of the folder."""
        busy = self._one_at_a_time.locked() or self._autosave
        return None if busy or self._state.is_newborn() else self._state.next_save()

    def save_soon(self) -> None:
        """Begin an autosave. It is not waited for: whatever comes meanwhile has its turn."""
        self._autosave = asyncio.create_task(self._save_by_itself())

    async def _save_by_itself(self) -> None:
        with contextlib.suppress(ApplicationError):
            await self.save()
        self._autosave = None
        self._wake()

    async def save_a_last_time(self) -> None:
        """Nothing that goes wrong here keeps an image from retiring."""
        if not self._state.is_newborn():
            with contextlib.suppress(ApplicationError):
                await self.save()

    async def save(self, place: str = "") -> SnapshotReceipt:
        """Save the image as it is. Refuses where that failed; the reason stays in `status` as well."""
        try:
            async with self._one_at_a_time:
                return await self._write(place)
        finally:
            self._wake()

    async def _write(self, place: str) -> SnapshotReceipt:
        keeping, system = self._state.keeping, self._state.settings.system
        began = workflow.now()
        order = SnapshotOrder(
            image_id=self._state.image_id,
            place=place or system.image_path,
            keep=system.snapshot_keep,
            generation=keeping.generation + 1,
        )
        try:
            receipt = await files.write_snapshot(order)
        except ActivityError as error:
            keeping.tried_at, keeping.problem = began, excerpt(failure_text(error), 500)
            refuse_failed(error, keeping.problem, "SnapshotFailed")
        keeping.tried_at, keeping.problem = began, ""
        # One that was already there, because nothing has changed, was not written now.
        if (receipt.generation, receipt.path) != (keeping.generation, keeping.path):
            keeping.saved_at = workflow.now()
            keeping.generation, keeping.path = receipt.generation, receipt.path
        return receipt
