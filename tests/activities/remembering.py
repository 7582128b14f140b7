"""A memory of a few tasks, over real HTTP against the scripted model server, beside a Temporal server."""

import uuid
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.memory.recall import SEARCH_SECONDS, Memory
from activities.memory.store import MemoryStore
from activities.model_server.backend import ModelBackend
from messages.memory import Recalled, RecallRequest
from testbed.fake_ollama import FakeOllama

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

    async def recall(self, text: str, within_seconds: float = SEARCH_SECONDS, **changes: Any) -> Recalled:
        """What bears on a text, however busy the machine is."""
        return await self.memory.look_up(self._request(text, **changes), within_seconds)

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


def names(recalled: Recalled) -> list[str]:
    return [item.task_id for item in recalled.items]
