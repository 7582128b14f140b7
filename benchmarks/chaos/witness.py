"""Collects from outside what the checker judges: Temporal's lists and histories, queries, files."""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle

from activities.snapshots.format import BadSnapshot, read
from benchmarks.chaos.checker import Evidence, Loop
from benchmarks.chaos.person import LOOK_EVERY_SECONDS, Person
from configuration import InvalidSettings
from connection.server import if_there
from workflows.image_state import ImageState
from workflows.living_image import LivingImage

SETTLES_WITHIN_SECONDS = 600.0
BACKUP = re.compile(r"(\d{4,})\.(.*)\.[0-9a-f]{12}\.[0-9a-f]{12}\.toml")


class Witness:
    """Of one image and its person; `story` is what the reader writes."""

    def __init__(self, person: Person, story: Path) -> None:
        self._person, self._image, self._story = person, person.image, story
        self._loops: dict[int, Loop] = {}
        self._texts: list[str | None] = []
        self._told_bytes = 0
        self.looks = 0

    async def settled(self) -> str:
        """Wait until nothing is under way any more; what still is, if it takes too long."""
        give_up_at = time.monotonic() + SETTLES_WITHIN_SECONDS
        while left := await self._tasks_and_loops() or self._file() or await self._list():
            if time.monotonic() > give_up_at:
                return f"after {SETTLES_WITHIN_SECONDS:g} s, with all well again: {left}"
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        return ""

    async def _tasks_and_loops(self) -> str:
        status = self._status = await self._person.insist("status", self._image.status)
        await self._person.decline(status.waiting_loops)
        if status.waiting_loops:
            return f"{', '.join(status.waiting_loops)} has not ended"
        return f"{status.queued} tasks wait, {status.running} run" if status.queued or status.running else ""

    def _file(self) -> str:
        try:
            adopted = self._status.digest == self._image.on_file().digest()
        except (InvalidSettings, OSError) as error:
            return f"settings.toml cannot be read: {error}"
        self._read_story()
        if not self._texts or self._texts[-1] != self._image.file.read_text():
            return "the reader has not seen settings.toml"
        return "" if adopted else f"settings.toml is not adopted: {self._status.settings_problem}"

    async def _list(self) -> str:
        """Temporal's list follows what has happened by a moment."""
        executions, tasks = await self._executions(), len(self._person.tasks)
        running = sum(status == "RUNNING" for _, status in executions)
        behind = running or len(executions) < tasks
        return f"the server lists {len(executions)} of {tasks} tasks, {running} as running" if behind else ""

    async def evidence(self) -> Evidence:
        """All that can be seen now."""
        ask, image, person = self._person.insist, self._image.image, self._person
        status = await ask("status", self._image.status)
        views = await ask("tasks", lambda: image.query(LivingImage.tasks))
        window = await ask("performance_logs", lambda: image.query(LivingImage.performance_logs))
        ledger = await ask("amendments", lambda: image.query(LivingImage.amendments))
        held = await ask("settings", lambda: image.query(LivingImage.settings))
        changed = [entry for entry in ledger if entry.digest]
        on_file = self._image.on_file()
        await self._ask_loops()
        self._read_story()
        snapshots = await asyncio.to_thread(self._snapshots)
        return Evidence(
            accepted=person.tasks,
            executions=await self._executions(),
            told=[(view.task_id, view.phase) for view in views],
            counted=status.finished + status.queued + status.running,
            ratings=person.ratings,
            told_ratings={view.task_id: view.rating for view in views},
            window=[log.task_id for log in window],
            texts=self._texts,
            edits=person.edits,
            loops=[self._loops[number] for number in sorted(self._loops)],
            backups=self._backups(),
            ledger=[entry.loop_id or "" for entry in ledger if entry.state == "approved"],
            snapshots=[problem for _, problem in snapshots],
            saved=await asyncio.to_thread(self._missing),
            values={
                "image": (held.values, status.digest),
                "file": (on_file.flat(), on_file.digest()),
                "ledger": (held.values, changed[-1].digest if changed else held.digest),
            },
        )

    # --- Temporal ---

    async def _executions(self) -> list[tuple[str, str]]:
        """Every workflow of a task that the server lists, and how it stands."""
        prefix = f"{self._image.name}/task/"

        async def listed() -> list[tuple[str, str]]:
            query = f"WorkflowType = 'Dialogue' AND WorkflowId STARTS_WITH '{prefix}'"
            found = self._image.client.list_workflows(query)
            return [(one.id.removeprefix(prefix), _name(one.status)) async for one in found]

        return await self._person.insist("the list of tasks", listed)

    async def _ask_loops(self) -> None:
        """How each loop ended, from its history; loops are numbered without gaps."""
        number = 1
        while True:
            if number not in self._loops:
                loop = self._image.loop(loop_id := f"{self._image.name}/loop/{number}")
                about = await self._person.insist(loop_id, partial(_about, loop))
                if about is None:
                    return
                if about.status == WorkflowExecutionStatus.COMPLETED:
                    ended = await self._person.insist(loop_id, loop.result)
                    changes = {change.key: change.new for change in ended.changes}
                    said = self._person.said.get(loop_id, "")
                    self._loops[number] = Loop(loop_id, ended.state, changes, said)
                elif about.status != WorkflowExecutionStatus.RUNNING:
                    self._loops[number] = Loop(loop_id, _name(about.status), {}, "")
            number += 1

    # --- files ---

    def _read_story(self) -> None:
        with self._story.open("rb") as file:
            file.seek(self._told_bytes)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._told_bytes += len(line)
                told: Mapping[str, Any] = json.loads(line)
                self.looks = told["looks"]
                if not self._texts or told["text"] != self._texts[-1]:
                    self._texts.append(told["text"])

    def _backups(self) -> list[str]:
        folder = self._image.file.with_suffix(".backups")
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        return [unquote(found[2]) for name in names if (found := BACKUP.fullmatch(name))]

    def _snapshots(self) -> list[tuple[str, str]]:
        """The two newest snapshots, and why they do not load."""
        folder = self._image.file.parent / "snapshots"
        newest = sorted(folder.glob("*.image"), reverse=True)[:2]
        return [(path.name, _why_not(path)) for path in newest]

    def _missing(self) -> list[str]:
        """What the image says it has saved last, and has not."""
        return [
            f"{receipt.path} is not there as it was written"
            for receipt in self._person.receipts[-1:]
            if not Path(receipt.path).is_file() or _digest(Path(receipt.path)) != receipt.sha256
        ]


async def _about(workflow: WorkflowHandle[Any, Any]) -> WorkflowExecutionDescription | None:
    return await if_there(workflow.describe())


def _name(status: WorkflowExecutionStatus | None) -> str:
    return status.name if status else ""


def _why_not(path: Path) -> str:
    try:
        ImageState.model_validate(read(path.read_bytes(), b"").envelope.state)
    except (BadSnapshot, ValueError, OSError) as error:
        return f"{path.name}: {error}"
    return ""


def _digest(path: Path) -> str:
    """The SHA-256 of a snapshot's content, which the file tells in its last bytes."""
    data = path.read_bytes()
    return hashlib.sha256(data[:-32]).hexdigest()
