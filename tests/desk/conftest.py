"""The command line of the world's own image."""

from collections.abc import AsyncIterator

import pytest

from testbed.world import World
from tests.desk.command_line import Starter


@pytest.fixture
async def starter(world: World) -> AsyncIterator[Starter]:
    running = Starter(world.file.parent, world.address)
    yield running
    running.stop_all()
