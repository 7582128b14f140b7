"""A memory of a few tasks, over real HTTP against the scripted model server, beside a Temporal server."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.memory.recall import Memory
from activities.memory.store import MemoryStore
from activities.model_server.backend import ModelBackend
from messages.memory import Recalled, RecallRequest
from testbed import fake_ollama
from testbed.fake_ollama import FakeOllama, Script
from testbed.model_embeddings import embedded

TASKS = {
    "trees": "Should a town plant trees or build shade roofs?",
    "piano": "Should my daughter learn piano or football?",
    "bridge": "Which bridge carries more traffic?",
}
EMBEDDING = "nomic-embed-text"


class Remembering:
    """A memory with a few tasks of an image of its own."""

    def __init__(self, client: Client, ollama: FakeOllama, folder: Path) -> None:
        self.image_id = f"image-{uuid.uuid4().hex[:8]}"
        self.path = folder / "memory.db"
        self.store = MemoryStore(self.path)
        self.memory = Memory(client, ModelBackend(), self.store.in_a_hurry())
        self.host = ollama.url
        for task_id, task in TASKS.items():
            self.keep(task_id, task)

    def keep(self, task_id: str, task: str, synthesis: str = "Yes.") -> None:
        at = "2026-01-01T12:00:00Z"
        entry = {"image_id": self.image_id, "task_id": task_id, "task": task}
        self.store.add([entry | {"synthesis": synthesis, "finished_at": at}])

    async def recall(self, text: str, **changes: Any) -> Recalled:
        """What bears on a text."""
        return await self.memory.look_up(self._request(text, **changes))

    async def recall_in_time(self, text: str, **changes: Any) -> Recalled:
        """The same, as a task gets it."""
        request = self._request(text, **changes)
        recalled: Recalled = await ActivityEnvironment().run(self.memory.recall, request)
        return recalled

    def _request(self, text: str, **changes: Any) -> RecallRequest:
        wanted = {
            "image_id": self.image_id,
            "task_id": "asking",
            "text": text,
            "host": self.host,
            "model": EMBEDDING,
            "most": 3,
        }
        return RecallRequest.model_validate(wanted | changes)


@contextmanager
def not_embedded(part: str) -> Iterator[None]:
    """Until the block ends the model server owes its answer to whoever asks for a text with this part."""
    paid = asyncio.Event()

    async def answer(script: Script, model: str, texts: list[str]) -> Response:
        if any(part in text for text in texts):
            await paid.wait()
        return await embedded(script, model, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_ollama, "embedded", answer)
        try:
            yield
        finally:
            paid.set()


def names(recalled: Recalled) -> list[str]:
    return [item.task_id for item in recalled.items]
