"""Tells the living image that somebody has saved settings.toml."""

import asyncio
import logging
from pathlib import Path

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode
from watchfiles import Change, awatch

from messages.image import ReloadReceipt
from messages.requests import ReloadSettings

log = logging.getLogger(__name__)

# An editor that empties a file and then fills it takes a few milliseconds; half a file is not an edit.
QUIET_MILLISECONDS = 200
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0


class SettingsWatcher:
    """Sends `reload_settings` once at its start, with the model this worker asks, and after every save.

    It outlives outages: what it could not say it says later, the latest state of the file only.
    """

    def __init__(self, client: Client, image_id: str, path: Path, model_backend: str = "") -> None:
        self._image = client.get_workflow_handle(image_id)
        self._path = path.absolute()
        self._message = ReloadSettings(model_backend=model_backend)
        self._news = asyncio.Event()
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._report())

    async def _watch(self) -> None:
        while True:
            try:
                await self._watch_present_files()
            except OSError as error:
                log.warning("%s cannot be watched (%s); trying again.", self._path, error)
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)
                self._news.set()

    async def _watch_present_files(self) -> None:
        """Until the path is a link to another file than before."""
        files = {self._path, self._path.resolve()}

        def concerns_us(_: Change, path: str) -> bool:
            return Path(path).name in {file.name for file in files}

        # Editors replace files, so it is the folder that is watched; a link and its target may be in two.
        folders = {file.parent for file in files}
        async for _ in awatch(*folders, watch_filter=concerns_us, step=QUIET_MILLISECONDS, recursive=False):
            self._news.set()
            if self._path.resolve() not in files:
                return

    async def _report(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            pause = FIRST_PAUSE_SECONDS
            while not await self._reported(first_try=pause == FIRST_PAUSE_SECONDS):
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _reported(self, first_try: bool) -> bool:
        """Whether the image has answered, be it with a refusal."""
        name = self._path.name
        try:
            receipt = await self._image.execute_update(
                "reload_settings", self._message, result_type=ReloadReceipt
            )
        except WorkflowUpdateFailedError as refusal:
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
