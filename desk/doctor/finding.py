"""What a check finds, and what it looks at."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, Self

from pydantic import BaseModel, Field
from temporalio.client import Client

from configuration import InvalidSettings, Settings
from configuration.reading import SettingsUnreadable, load_settings
from connection.image import own_queue
from connection.problems import Problem
from connection.server import connect
from desk.doctor.clock import Offset, measure_offset

State = Literal["ok", "warning", "broken"]
FIX = "python starter.py doctor --fix"
"""What mends everything that has a `mend`."""


class Tell(Protocol):
    """How a repair says how far it is. `completed` and `total` in one unit; None: unknown."""

    def __call__(self, doing: str, completed: float | None = None, total: float | None = None) -> None: ...


Mend = Callable[[Tell], Awaitable[str]]
"""A repair that is safe to make; it returns what it has done, or raises Problem."""


class Finding(BaseModel):
    """One line of the report. `figure` is what was seen, `advice` what to do about it."""

    check: str
    state: State = "ok"
    figure: str
    advice: str = ""
    mend: Mend | None = Field(default=None, exclude=True)


class Absent(Exception):
    """What a check needs is not there, which another check tells of."""


@dataclass(frozen=True)
class Patient:
    """What is looked at: the server and the settings, or why they cannot be had."""

    path: Path
    state_dir: Path
    server: Client | Problem
    file: Settings | InvalidSettings | SettingsUnreadable

    @classmethod
    async def meet(cls, path: Path, state_dir: Path) -> Self:
        file: Settings | InvalidSettings | SettingsUnreadable
        try:
            file = load_settings(path)
        except (InvalidSettings, SettingsUnreadable) as error:
            file = error
        try:
            return cls(path, state_dir, await connect(), file)
        except Problem as problem:
            return cls(path, state_dir, problem, file)

    @property
    def client(self) -> Client:
        """Raises Absent."""
        if isinstance(self.server, Problem):
            raise Absent("no server")
        return self.server

    @cached_property
    def offset(self) -> asyncio.Task[Offset]:
        """The server's clock against ours, measured once for all who ask. Raises Absent."""
        return asyncio.create_task(measure_offset(self.client, self.settings.system.task_queue))

    @cached_property
    def home(self) -> asyncio.Task[str | None]:
        """The task queue that the living image is on, looked up once; None: none lives. Raises Absent."""
        image_id = self.settings.system.image_id
        return asyncio.create_task(own_queue(self.client, image_id))

    async def queue(self) -> str:
        """The task queue on which workers are needed: the living image's own. Raises Absent."""
        return await asyncio.shield(self.home) or self.settings.system.task_queue

    @property
    def settings(self) -> Settings:
        """Raises Absent."""
        if not isinstance(self.file, Settings):
            raise Absent("no valid settings")
        return self.file


Check = Callable[[Patient], Awaitable[list[Finding]]]
"""One thing looked at, in a line or more. Raises Absent; what else it raises becomes a finding."""


def broken(check: str, problem: Exception) -> Finding:
    """A finding from the one sentence of a Problem: what is wrong; what to do."""
    figure, _, advice = str(problem).rpartition("; ")
    return Finding(check=check, state="broken", figure=figure, advice=advice[:1].upper() + advice[1:])
