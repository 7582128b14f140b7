"""What becomes of a task whose clients have all gone, where a worker was started with --door-cancels."""

import asyncio
import contextlib

from temporalio.service import RPCError

from connection.problems import Problem
from door.image import RUNNING, Image
from door.refusals import Refusal

BACK_WITHIN_SECONDS = 5.0
"""A client that lost its connection has so long to ask again."""
LOOK_EVERY_SECONDS = 1.0


class Leaving:
    """Cancels the dialogue of a task that nobody waits for any more; one in the queue once it begins."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._left: dict[str, asyncio.Task[None]] = {}

    def left(self, task_id: str) -> None:
        self._left[task_id] = asyncio.create_task(self._cancel(task_id))

    def back(self, task_id: str) -> None:
        """Somebody waits for it again."""
        if task := self._left.pop(task_id, None):
            task.cancel()

    def close(self) -> None:
        for task_id in list(self._left):
            self.back(task_id)

    async def _cancel(self, task_id: str) -> None:
        await asyncio.sleep(BACK_WITHIN_SECONDS)
        # A worker or a server that is just being restarted is no reason to let it go on.
        while not await self._is_cancelled(task_id):  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        del self._left[task_id]

    async def _is_cancelled(self, task_id: str) -> bool:
        """Whether there is nothing left to do."""
        dialogue = self._image.dialogue(task_id)
        with contextlib.suppress(Problem, Refusal, RPCError):
            described = await self._image.described(dialogue)
            if described is None:
                waiting = (task.task_id for task in (await self._image.queue()).tasks)
                return task_id not in waiting
            if described.status is RUNNING:
                await dialogue.cancel()
            return True
        return False
