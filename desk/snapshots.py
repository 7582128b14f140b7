"""Snapshots as a person handles them: which there are, and an image brought back from one."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ValidationError
from temporalio.client import Client, WorkflowHandle, WorkflowQueryFailedError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.settings_rewriting import SettingsNotWritable, check_writable, set_values
from activities.snapshots.format import BadSnapshot, Snapshot, read, signing_key
from activities.snapshots.places import NoPlace, Place, open_url, read_file
from configuration import InvalidSettings, Settings, Value
from configuration.reading import SettingsUnreadable
from connection.image import restore_image
from connection.places import as_typed
from connection.problems import Problem, Refused
from connection.server import if_there
from connection.talking import ANSWER_WITHIN
from desk.which import read_settings
from messages.common import part
from messages.image import Keeping
from messages.loops import Change
from messages.tasks import Task
from workflows.image_state import ImageState
from workflows.ledger import changes_between
from workflows.living_image import LivingImage


class SnapshotView(BaseModel):
    """One file. `problem`: why it cannot be used, or nothing; `written_at` None: it does not say."""

    path: str
    generation: int
    bytes: int
    written_at: datetime | None = None
    sha256: str = ""
    problem: str = ""


class Restoration(BaseModel):
    """What a snapshot comes to here. `changes`: of settings.toml. `replaces_newborn`: an untouched image."""

    image_id: str
    path: str
    sha256: str
    generation: int
    written_at: datetime
    revision: int
    finished: int
    amendments: int
    logs: int
    memories: int
    queued_again: list[str]
    renamed: dict[str, str] = {}
    dropped_loops: list[str] = []
    changes: list[Change] = []
    replaces_newborn: bool = False
    started: bool = False


def find_snapshots(settings: Path | None, image_id: str) -> list[SnapshotView]:
    """The snapshots of an image where settings.toml keeps them, newest first, each read and checked."""
    path, values = read_settings(settings)
    where = values.system.image_path
    try:
        return snapshots_in(where, path.parent, image_id)
    except Exception as error:  # every file system has errors of its own
        raise Problem(
            f"The snapshots in {where} cannot be listed: {error}. See [system] image_path"
        ) from None


def kept_memories(settings: Path | None, image_id: str) -> list[dict[str, Any]]:
    """What the newest good snapshot of an image remembers; nothing where there is none. Raises Problem."""
    good = next((view for view in find_snapshots(settings, image_id) if not view.problem), None)
    return [] if good is None else open_snapshot(good.path).envelope.memory


def snapshots_in(where: str, base: Path, image_id: str) -> list[SnapshotView]:
    """The snapshots of an image in a folder, relative to `base`, or under a URL. Raises NoPlace, or worse."""
    place, key = Place(where, base, image_id), signing_key()
    return [_view(place, found.path, found.generation, key) for found in place.all()]


def _view(place: Place, path: str, generation: int, key: bytes) -> SnapshotView:
    try:
        kept = place.check(path, key)
    except (BadSnapshot, OSError) as error:
        size = int(place.fs.size(path) or 0)
        return SnapshotView(path=path, generation=generation, bytes=size, problem=str(error))
    return SnapshotView(**kept.receipt.model_dump(), written_at=kept.header.written_at)


def open_snapshot(file: str) -> Snapshot:
    """A snapshot given as a path or URL, all of it checked."""
    try:
        fs, path = open_url(file, Path.cwd())
        return read(read_file(fs, path), signing_key())
    except BadSnapshot as error:
        raise Refused(f"{file} is refused: {error}") from None
    except (NoPlace, FileNotFoundError, IsADirectoryError) as error:
        raise Problem(f"{file} cannot be read: {error}. See: python starter.py snapshots") from None
    except Exception as error:  # every file system has errors of its own
        raise Problem(f"{file} cannot be read: {error}. See whether it is within reach") from None


class Restoring:
    """A snapshot on its way to becoming an image on `client`'s server, with a settings file for it."""

    def __init__(self, client: Client, file: str, settings: Path | None, name: str | None) -> None:
        self._client = client
        self._snapshot = open_snapshot(file)
        self._settings, self._on_file = read_settings(settings)
        header = self._snapshot.header
        self.state = _state(file, self._snapshot)
        _check_name(self._settings, self._on_file, header.image_id, name)
        self._move_in()
        self.plan = Restoration(
            image_id=self.state.image_id,
            path=file,
            sha256=self._snapshot.sha256,
            generation=header.generation,
            written_at=header.written_at,
            revision=self.state.ledger.revision,
            finished=self.state.finished_count,
            amendments=len(self.state.ledger.amendments),
            logs=len(self.state.window),
            memories=len(self._snapshot.envelope.memory),
            queued_again=[],
            dropped_loops=self.state.open_loops,
            changes=changes_between(self._on_file, self.state.settings),
        )

    async def prepare(self) -> Restoration:
        """Find out what restoring comes to; changes nothing. Raises Refused where the image lives."""
        self.plan.replaces_newborn = await self._newborn() is not None
        await self._queue_again()
        return self.plan

    async def make_room(self) -> None:
        """End an image of that name in which nothing has happened. Raises Refused where something has."""
        newborn = await self._newborn()
        if newborn is not None:
            snapshot = as_typed(self.plan.path)
            await newborn.terminate(f"Nothing had happened in it; {snapshot} is restored in its place")

    def rewrite_settings(self) -> None:
        """Give settings.toml the snapshot's values, with a backup. Raises Problem."""
        if not self.plan.changes:
            return
        try:
            check_writable(self._settings)
            order = f"restore of {self.plan.image_id} generation {self.plan.generation}"
            receipt = set_values(self._settings, self.plan.changes, order)
        except (InvalidSettings, SettingsUnreadable, SettingsNotWritable) as error:
            raise Problem(str(error)) from None
        except OSError as error:
            raise Problem(
                f"{self._settings} cannot be rewritten: {error}. Free the disk, try again"
            ) from None
        if receipt.settings != self.state.settings:
            raise Problem(f"{self._settings} was edited meanwhile. Restore again")

    def memories(self) -> list[dict[str, Any]]:
        """What the image remembers, under the name that it will have."""
        return [entry | {"image_id": self.state.image_id} for entry in self._snapshot.envelope.memory]

    async def start(self) -> Restoration:
        """Bring the image to life."""
        header = self._snapshot.header
        if self.state.open_loops:
            # Their proposals are gone; the logs they were to judge are judged anew.
            self.state.open_loops, self.state.logs_since_look = [], len(self.state.window)
            self.state.obstacles = {}
        self.state.phase = "paused" if self.state.phase == "paused" else "active"
        self.state.keeping = Keeping(
            active_at=datetime.now(UTC), saved_at=header.written_at, generation=header.generation
        )
        try:
            await restore_image(self._client, self.state)
        except WorkflowAlreadyStartedError:
            raise _alive(self.state.image_id) from None
        return self.plan.model_copy(update={"started": True})

    def _move_in(self) -> None:
        """Who the image is and which queue it lives on are matters of this machine's file."""
        system = self._on_file.system
        here: dict[str, Value] = {"system.image_id": system.image_id, "system.task_queue": system.task_queue}
        self.state.ledger.settings = self.state.settings.with_changes(here)
        old, self.state.image_id = self.state.image_id, system.image_id
        if old != system.image_id:
            self.state.answered = {}

    async def _newborn(self) -> WorkflowHandle[LivingImage, ImageState] | None:
        """The image of that name, if one lives. Raises Refused where anything has happened in it."""
        image = self._client.get_workflow_handle_for(LivingImage.run, self.state.image_id)
        try:
            if (await image.describe()).close_time is not None:
                return None
            state = await image.query(LivingImage.state, rpc_timeout=ANSWER_WITHIN)
        except WorkflowQueryFailedError:
            raise _alive(self.state.image_id) from None
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            if error.status is RPCStatusCode.UNAVAILABLE:
                raise Problem(f"The Temporal server does not answer: {error.message}") from None
            # It lives, but no worker of it answers.
            raise _alive(self.state.image_id) from None
        if not state.is_newborn():
            raise _alive(self.state.image_id)
        return image

    async def _queue_again(self) -> None:
        """What was under way begins anew; under another name where the server knows the old one."""
        unfinished: list[Task] = [*self.state.running, *self.state.queue]
        self.state.running, self.state.queue = [], []
        names = await asyncio.gather(*(self._free_name(task.task_id) for task in unfinished))
        for task, name in zip(unfinished, names, strict=True):
            self.state.queue.append(Task(**part(Task, task) | {"task_id": name}))
        self.plan.queued_again = names
        self.plan.renamed = {
            task.task_id: name for task, name in zip(unfinished, names, strict=True) if name != task.task_id
        }

    async def _free_name(self, task_id: str) -> str:
        name = task_id
        while await self._is_known(name):
            name = f"{task_id[:50]}-{uuid4().hex[:8]}"
        return name

    async def _is_known(self, task_id: str) -> bool:
        dialogue = self._client.get_workflow_handle(self.state.task_workflow_id(task_id))
        try:
            return await if_there(dialogue.describe()) is not None
        except RPCError as error:
            raise Problem(f"The Temporal server does not answer: {error.message}") from None


def _state(file: str, snapshot: Snapshot) -> ImageState:
    try:
        return ImageState.model_validate(snapshot.envelope.state)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise Refused(f"{file} is refused: its state has {where}: {fault['msg']}; use another one") from None


def _check_name(path: Path, on_file: Settings, image_id: str, name: str | None) -> None:
    if on_file.system.image_id == (name or image_id):
        return
    wanted = f"--as {name} needs" if name else f"A snapshot of {image_id!r} needs"
    raise Problem(
        f"{wanted} a settings file that names that image, and {path} names {on_file.system.image_id!r}. "
        "Name another file with --settings, change its [system] image_id, or choose the name with --as"
    )


def _alive(image_id: str) -> Refused:
    return Refused(
        f"{image_id} is alive, and a snapshot never takes the place of a living image. "
        "End it first (python starter.py retire), or restore under another name: --as NAME"
    )
