"""Tells the living image that somebody has saved settings.toml."""

import asyncio
import hashlib
import logging
import stat
from pathlib import Path

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from configuration.reading import MOST_BYTES
from connection.codec import speaking_to
from connection.talking import was_passed_over
from messages.image import ReloadReceipt
from messages.requests import ReloadSettings

log = logging.getLogger(__name__)

# Looked at rather than waited for: a network drive, a folder shared with a virtual machine, a link swapped in
# a folder above or a kernel out of watches tells nobody of a save. A look takes a few microseconds.
LOOK_EVERY_SECONDS = 0.5
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0


class SettingsWatcher:
    """Sends `reload_settings` at its start and after every save; what an outage kept from it, once, later."""

    def __init__(self, client: Client, image_id: str, path: Path, model_backend: str = "") -> None:
        self._client = client
        self._image_id = image_id
        self._path = path
        self._message = ReloadSettings(model_backend=model_backend)
        self._news = asyncio.Event()
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        file = WatchedFile(self._path)
        # Before the first message, so that a save in between is told after it.
        told = await asyncio.to_thread(file.look)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(file, told))
            group.create_task(self._report())

    async def _watch(self, file: "WatchedFile", told: str) -> None:
        seen = told
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            before, seen = seen, await asyncio.to_thread(file.look)
            # An editor may empty a file and then fill it: what is told has been the same for two looks.
            if seen == before and seen != told:
                told = seen
                self._news.set()

    async def _report(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            pause = FIRST_PAUSE_SECONDS
            of = (self._client, self._image_id, self._path.name, self._message)
            while not await tell_image(*of, first_try=pause == FIRST_PAUSE_SECONDS):
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def tell_image(
    client: Client,
    image_id: str,
    name: str,
    message: ReloadSettings,
    *,
    first_try: bool = False,
    news: str = "",
) -> bool:
    """Have an image read its settings file, which is called `name`; whether it has answered, be it with no.

    `news`: an id for what it is told, the same however often that is tried. A first try that fails is logged.
    """
    try:
        speaking = await speaking_to(client, image_id)
        receipt = await speaking.get_workflow_handle(image_id).execute_update(
            "reload_settings", message, id=news or None, result_type=ReloadReceipt
        )
    except WorkflowUpdateFailedError as refusal:
        if was_passed_over(refusal):
            return False
        reason = getattr(refusal.cause, "message", refusal.cause)
        log.warning("%s was not adopted, the settings before it hold: %s", name, reason)
    except Exception as error:
        # The client turns a cancellation into an error of its own.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError from error
        # Whatever else it raises while a server goes down and comes back, the watcher goes on.
        no_image_yet = isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND
        if first_try and not no_image_yet:
            log.warning("The image could not be told of %s (%s); trying again.", name, error)
        return False
    else:
        if receipt.changed:
            log.info("%s was adopted as revision %d.", name, receipt.revision)
    return True


class WatchedFile:
    """What a path leads to now, through every link on the way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stat: tuple[int, ...] = ()
        self._digest = ""

    def look(self) -> str:
        """A digest of its text, or why it cannot be read. Blocks; reads it only when it may differ."""
        try:
            now = self._path.stat()
            looks = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
            if looks != self._stat:
                self._digest = self._read(now.st_mode)
                self._stat = looks
        except OSError as error:
            self._stat = ()
            self._digest = str(error)
        return self._digest

    def _read(self, mode: int) -> str:
        """A digest of as much as a settings file may have. A pipe would keep its reader waiting."""
        if not stat.S_ISREG(mode):
            return "no file"
        with self._path.open("rb") as file:
            return hashlib.sha256(file.read(MOST_BYTES + 1)).hexdigest()
