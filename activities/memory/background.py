"""Work for the memory that goes on behind the tasks, in the worker's event loop."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from activities.memory.embedding import NoEmbeddings

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Background:
    """Running work. Whoever waits for it and gives up does not stop it.

    Its failures are logged, but for NoEmbeddings: whoever waits for it tells of that.
    """

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
