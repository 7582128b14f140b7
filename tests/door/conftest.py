"""A door before an image of its own, shared by the tests of one file, and OpenAI's own client to knock."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from openai import AsyncOpenAI
from temporalio.testing import WorkflowEnvironment

from door.app import Door
from door.image import Image
from door.opening import open_socket, url_of
from door.plain import Plain
from door.serving import serving
from testbed.fake_ollama import FakeOllama, Script
from testbed.world import World

KEEP_ALIVE_SECONDS = 0.5
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For properties: a busy machine is no failure."""


class Doorstep:
    """An image with a door, and who stands before it. `openai` tries nothing again by itself."""

    def __init__(self, world: Any, url: str) -> None:
        self.world = world
        self.url = url
        self.openai = AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=120)

    @property
    def ollama(self) -> FakeOllama:
        ollama: FakeOllama = self.world.ollama
        return ollama

    @property
    def image(self) -> str:
        return str(self.world.name)

    async def task_ids(self) -> list[str]:
        return [task.task_id for task in (await self.world.state()).task_views()]


@asynccontextmanager
async def opened(
    world: World, image_id: str = "", most_at_once: int = 64, cancels: bool = False
) -> AsyncIterator[Doorstep]:
    """The door of a world, as worker.py opens it; with `image_id` before another image."""
    assert world.personas is not None
    image = Image(world.client, image_id or world.name)
    plain = Plain(world.personas, world.on_file(), image.settings)
    door = Door(image, plain, KEEP_ALIVE_SECONDS, most_at_once, cancels)
    listening = open_socket("127.0.0.1", 0)
    async with serving(door, listening), knocking(world, url_of("127.0.0.1", listening)) as doorstep:
        yield doorstep


@asynccontextmanager
async def knocking(world: Any, url: str) -> AsyncIterator[Doorstep]:
    doorstep = Doorstep(world, url)
    async with doorstep.openai:
        yield doorstep


@pytest.fixture(scope="module")
async def shared_doorstep(
    server: WorkflowEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Doorstep]:
    folder: Path = tmp_path_factory.mktemp("door")
    async with FakeOllama() as ollama, World(server.client, ollama, folder) as world, opened(world) as it:
        yield it


@pytest.fixture
def doorstep(shared_doorstep: Doorstep) -> Iterator[Doorstep]:
    """The door of the file, whose model says what it is told to in this test only."""
    yield shared_doorstep
    shared_doorstep.ollama.script = Script()
    shared_doorstep.ollama.ending.set()
    shared_doorstep.ollama.answering.set()
