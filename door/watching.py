"""One look a second at a task, however many wait for it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from temporalio.service import RPCError

from connection.problems import Problem
from door.image import View
from door.leaving import Leaving
from door.refusals import Refusal, closing

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 1.0


class Watch:
    """How one task stands, told to all who wait."""

    def __init__(self, look: Callable[[], Awaitable[View]]) -> None:
        self._look = look
        self._view: View | None = None
        self._news = asyncio.Condition()
        self._looking = asyncio.create_task(self._run())
        self.waiting = 0

    async def views(self) -> AsyncGenerator[View]:
        """How it stands, now and whenever that changes, until it is over."""
        seen: View | None = None
        while seen is None or not seen.is_over:
            async with self._news:
                while self._view is None or self._view is seen:
                    await self._news.wait()
                seen = self._view
            yield seen

    async def tell(self, view: View) -> None:
        async with self._news:
            if view != self._view:
                self._view = view
                self._news.notify_all()

    @property
    def is_over(self) -> bool:
        return self._view is not None and self._view.is_over

    def stop(self) -> None:
        self._looking.cancel()

    async def _run(self) -> None:
        view = View()
        while not view.is_over:
            try:
                view = await self._look()
                await self.tell(view)
            except Refusal as refusal:
                if refusal.status != 503:
                    return await self.tell(View(failure=refusal))
            except (Problem, RPCError):
                pass  # a worker or a server that is just being restarted is no reason to stop waiting
            except Exception:
                log.exception("A task cannot be looked at")
                return await self.tell(View(failure=Refusal(500, "the door failed; see its log", "internal")))
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        return None


class Watches:
    """The watches of a door: one for each task that anybody waits for. `leaving` hears who does no longer."""

    def __init__(
        self, look_at: Callable[[str], Callable[[], Awaitable[View]]], leaving: Leaving | None = None
    ) -> None:
        self._look_at = look_at
        self._leaving = leaving
        self._watches: dict[str, Watch] = {}
        self._closing = False

    @contextmanager
    def of(self, task_id: str) -> Iterator[Watch]:
        """The watch of a task, for as long as somebody waits. Raises Refusal once the door closes."""
        if self._closing:
            raise closing()
        if task_id not in self._watches:
            self._watches[task_id] = Watch(self._look_at(task_id))
        if self._leaving:
            self._leaving.back(task_id)
        watch = self._watches[task_id]
        watch.waiting += 1
        try:
            yield watch
        finally:
            watch.waiting -= 1
            if not watch.waiting:
                watch.stop()
                del self._watches[task_id]
                if self._leaving and not (watch.is_over or self._closing):
                    self._leaving.left(task_id)

    async def close(self) -> None:
        """Tell all who wait that they wait no longer."""
        self._closing = True
        if self._leaving:
            self._leaving.close()
        for watch in list(self._watches.values()):
            watch.stop()
            await watch.tell(View(failure=closing()))
