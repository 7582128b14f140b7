"""A door before an image of its own, shared by the tests of one file, and OpenAI's own client to knock."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from openai import AsyncOpenAI
from temporalio.testing import WorkflowEnvironment

from door.app import Door
from door.image import Image
from door.plain import Plain
from door.serving import open_socket, serving, url_of
from testbed.fake_ollama import FakeOllama, Script
from testbed.world import World

KEEP_ALIVE_SECONDS = 0.5
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For properties: a busy machine is no failure."""


class Doorstep:
    """An image with a door, and who stands before it. `openai` tries nothing again by itself."""

    def __init__(self, world: World, url: str) -> None:
        self.world = world
        self.url = url
        self.openai = AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=60)

    @property
    def ollama(self) -> FakeOllama:
        return self.world.ollama

    @property
    def image(self) -> str:
        return self.world.name

    async def task_ids(self) -> list[str]:
        return [task.task_id for task in (await self.world.state()).task_views()]


@asynccontextmanager
async def opened(world: World) -> AsyncIterator[Doorstep]:
    """The door of a world, as worker.py opens it."""
    assert world.personas is not None
    image = Image(world.client, world.name)
    door = Door(image, Plain(world.personas, world.on_file(), image.settings), KEEP_ALIVE_SECONDS)
    listening = open_socket("127.0.0.1", 0)
    async with serving(door, listening):
        doorstep = Doorstep(world, url_of("127.0.0.1", listening))
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
