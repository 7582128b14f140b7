"""What most of these tests carry out: the calls of the personas, and recalls."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.memory import recall
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
async def remembering(
    client: Client, ollama: FakeOllama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Remembering]:
    # The machine may be too busy for the time that a task waits.
    monkeypatch.setattr(recall, "RECALL_SECONDS", recall.SEARCH_SECONDS)
    one = Remembering(client, ollama, tmp_path)
    yield one
    await one.memory.close()
