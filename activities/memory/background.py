"""Work for the memory that goes on behind the tasks, in the worker's event loop."""

import asyncio
import logging
import math
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import apsw
from pydantic import ValidationError
from temporalio.service import RPCError

from activities.memory.embedding import NoEmbeddings
from activities.memory.histories import Histories
from activities.memory.store import MemoryStore
from messages.common import excerpt

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Background:
    """Running work, which goes on when whoever waits for it gives up. That one tells of NoEmbeddings."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """Stop what still runs."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, NoEmbeddings):
            log.warning("The memory could not do all that it wanted to: %r", error)


async def done_by(moment: float, task: asyncio.Task[Any]) -> None:
    """Wait for a task until a moment of the loop's clock, and leave it running then."""
    left = moment - asyncio.get_running_loop().time()
    await asyncio.wait([task], timeout=max(0.0, left))


@dataclass
class _Look:
    """`began`: in seconds since the epoch, and infinite while it has yet to begin."""

    task: asyncio.Task[str] = field(init=False)
    began: float = math.inf
    failed: bool = False


class Looks:
    """Fills the store from the histories: one look at a time for each image, and no more than it takes."""

    def __init__(self, histories: Histories, store: MemoryStore, background: Background) -> None:
        self._histories = histories
        self._store = store
        self._background = background
        self._last: dict[str, _Look] = {}

    def since(self, image_id: str, moment: float) -> asyncio.Task[str]:
        """A look that began at `moment` (of the epoch) or later; it comes to nothing, or to why it failed."""
        last = self._last.get(image_id)
        if last is not None and last.began >= moment and not last.failed:
            return last.task
        look = self._last[image_id] = _Look()
        look.task = self._background.start(self._run(image_id, look, after=last))
        return look.task

    async def _run(self, image_id: str, look: _Look, after: _Look | None) -> str:
        if after is not None:
            await asyncio.wait([after.task])
        look.began = time.time()
        try:
            await self._histories.catch_up(self._store, image_id)
        except (RPCError, ValidationError, apsw.Error, OSError) as error:
            look.failed = True
            log.warning("The memory could not read on in the histories: %r", error)
            if isinstance(error, apsw.BusyError):
                return "another program writes to the memory"
            return excerpt(str(error))
        return ""
