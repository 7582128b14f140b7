"""What most of these tests carry out: the calls of the personas, and recalls."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.model_server.backend import ModelBackend
from activities.personas import Personas
from testbed.fake_ollama import FakeOllama
from tests.activities.remembering import Remembering


@pytest.fixture
async def personas() -> AsyncIterator[Personas]:
    personas = Personas(ModelBackend())
    yield personas
    await personas.close()


@pytest.fixture
async def remembering(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[Remembering]:
    one = Remembering(client, ollama, tmp_path)
    yield one
    await one.memory.close()
