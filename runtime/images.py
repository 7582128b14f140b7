"""Keeps the images of many folders hosted: each is begun where it never lived, and told of its file.

One task looks at all files, and a few do what a look finds: an image with which nothing happens costs a look
at its file each second, and nothing else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

from temporalio.client import Client, WorkflowQueryFailedError

from configuration import InvalidSettings, Settings
from configuration.reading import SettingsUnreadable, load_settings
from connection.image import wake_image
from connection.places import as_typed
from connection.problems import Problem
from messages.image import ImageStatus
from messages.requests import ReloadSettings
from runtime.folders import Folders
from runtime.settings_watcher import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, tell_image

log = logging.getLogger(__name__)

# A thousand files take a few milliseconds.
LOOK_EVERY_SECONDS = 1.0
AT_ONCE = 8
"""Images that are begun or told of their file at a time: as many as keep a server on one machine busy."""
ANSWERS_WITHIN_SECONDS = 30.0
"""One that does not answer has its turn again later, and keeps nobody waiting. What a killed worker had begun
the server gives to another after ten."""
QUERY_WITHIN = timedelta(seconds=25)


class Images:
    """Of one worker. `answers`: which models answer with some settings, in words."""

    def __init__(self, client: Client, folders: Folders, answers: Callable[[Settings], str]) -> None:
        self._client = client
        self._folders = folders
        self._answers = answers
        # Whose turn it is: each once, in this order.
        self._due: dict[str, None] = {}
        self._somebody_is_due = asyncio.Event()
        self._awake: set[str] = set()
        # How long after a failure it has its turn again, and the id of what it is to be told.
        self._pauses: dict[str, float] = {}
        self._news: dict[str, str] = {}
        # Folders are for one thread at a time.
        self._looking = asyncio.Lock()
        self._in_trouble = False

    async def wake(self) -> None:
        """Begin each image that is new. What the others are to be told, `run` tells."""
        waiting = iter(self._folders.image_ids())

        async def work() -> None:
            for image_id in waiting:
                if await self._tried(self._wake, image_id):
                    self._make_due(image_id)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            for _ in range(AT_ONCE):
                group.create_task(self._attend_to_all())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            async with self._looking:
                news = await asyncio.to_thread(self._folders.look)
            for image_id in news:
                self._news.pop(image_id, None)
                self._make_due(image_id)

    def _make_due(self, image_id: str) -> None:
        self._due[image_id] = None
        self._somebody_is_due.set()

    async def _attend_to_all(self) -> None:
        while True:
            while not self._due:
                self._somebody_is_due.clear()
                await self._somebody_is_due.wait()
            image_id = next(iter(self._due))
            del self._due[image_id]
            if not await self._tried(self._wake_and_tell, image_id):
                self._pauses.pop(image_id, None)
                self._news.pop(image_id, None)
                self._in_trouble = False
                continue
            # Whatever it was, it may not be there any more.
            self._awake.discard(image_id)
            pause = self._pauses.get(image_id, FIRST_PAUSE_SECONDS)
            self._pauses[image_id] = min(2 * pause, LONGEST_PAUSE_SECONDS)
            asyncio.get_running_loop().call_later(pause, self._make_due, image_id)

    async def _tried(self, act: Callable[[str], Awaitable[bool]], image_id: str) -> bool:
        """Whether an image has to have its turn again: as what is done says, and where that fails."""
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_SECONDS):
                return await act(image_id)
        except Problem as problem:
            async with self._looking:
                await asyncio.to_thread(self._folders.refuse, image_id, str(problem))
            return False
        except Exception as error:
            # The client turns a cancellation into an error of its own.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from error
            # Whatever else it raises while a server goes down and comes back, the others have their turn.
            if not self._in_trouble:
                reason = str(error) or type(error).__name__
                log.warning("%s could not be told of its file (%s); trying again.", image_id, reason)
            self._in_trouble = True
            return True

    async def _wake(self, image_id: str) -> bool:
        """Begin an image unless it has ever been. Whether it has lived, and may have news to be told of."""
        settings = await self._settings_of(image_id)
        if settings is None:
            return False  # once its file is mended, that is news
        life = await wake_image(self._client, settings, self._answers(settings))
        if life == "ended":
            log.warning(
                "%s has ended and is not begun anew; `starter.py start` gives it another life.", image_id
            )
            return False
        self._awake.add(image_id)
        return life == "lives"

    async def _wake_and_tell(self, image_id: str) -> bool:
        """Whether an image did not answer."""
        if image_id not in self._awake and not await self._wake(image_id):
            return False
        file, settings = self._folders.hosted.get(image_id), await self._settings_of(image_id)
        if file is None or (settings is not None and await self._knows(settings)):
            return False
        message = ReloadSettings(model_backend=self._answers(settings) if settings else "")
        news = self._news.setdefault(image_id, uuid4().hex)
        return not await tell_image(self._client, image_id, as_typed(file), message, news=news)

    async def _settings_of(self, image_id: str) -> Settings | None:
        """As the file of an image stands; none where it has no readable one."""
        file = self._folders.hosted.get(image_id)
        try:
            return await asyncio.to_thread(load_settings, file) if file is not None else None
        except (InvalidSettings, SettingsUnreadable):
            return None

    async def _knows(self, settings: Settings) -> bool:
        """Whether an image holds these settings and knows who answers, so that no event need tell it."""
        image = self._client.get_workflow_handle(settings.system.image_id)
        try:
            status = await image.query("status", result_type=ImageStatus, rpc_timeout=QUERY_WITHIN)
        except WorkflowQueryFailedError:
            return False
        told = not status.settings_problem and status.digest == settings.digest()
        return told and self._answers(settings) in ("", status.model_backend)
