"""Looks for what has ended since: for each image one at a time, and no more of them than there have to be."""

import asyncio
import logging
import math
import time
from dataclasses import dataclass, field

import apsw
from pydantic import ValidationError
from temporalio.service import RPCError

from activities.memory.background import Background
from activities.memory.histories import Histories
from activities.memory.store import MemoryStore
from messages.common import excerpt

log = logging.getLogger(__name__)


@dataclass
class _Look:
    """`began`: in seconds since the epoch, and infinite while it has yet to begin."""

    task: asyncio.Task[str] = field(init=False)
    began: float = math.inf
    failed: bool = False


class Looks:
    """Fills the store from the histories, in the background."""

    def __init__(self, histories: Histories, store: MemoryStore, background: Background) -> None:
        self._histories = histories
        self._store = store
        self._background = background
        self._last: dict[str, _Look] = {}

    def since(self, image_id: str, moment: float) -> asyncio.Task[str]:
        """A look that began at this moment or later: one that has been, that runs, or a new one.

        `moment`: seconds since the epoch. The look comes to nothing, or to the reason why it failed.
        """
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
