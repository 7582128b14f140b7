"""A life under keys: its worker and commands are processes, and its server keeps a file that can be read."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecution

from connection.codec import converter_of, is_sealed, payloads_in
from connection.sealing import VARIABLE
from messages.keys import parse
from testbed.fake_ollama import FakeOllama
from testbed.world import Image, until
from tests.desk.command_line import Starter
from tests.runtime.worker_process import WorkerProcess


def key(name: str, byte: int = 1) -> str:
    return f"{name}:{base64.b64encode(bytes([byte] * 32)).decode()}"


OLD, NEW, OTHER = key("old", 1), key("new", 2), key("other", 3)


async def client_with(address: str, keys: str) -> Client:
    return await Client.connect(address, data_converter=converter_of(parse(keys)))


class Life(Image):
    """An image whose worker and commands have certain keys; change `keys` for those that come."""

    def __init__(self, client: Client, ollama: FakeOllama, folder: Path, keys: str, **values: Any) -> None:
        super().__init__(client, ollama.url, folder, values)
        self.keys = keys
        self.model_server = ollama.url

    @classmethod
    async def under(cls, keys: str, address: str, ollama: FakeOllama, folder: Path, **values: Any) -> "Life":
        return cls(await client_with(address, keys), ollama, folder, keys, **values)

    async def take(self, keys: str) -> None:
        """From here on these keys, for everybody who has not begun yet."""
        self.keys, self.client = keys, await client_with(self.address, keys)

    def starter(self, **more: str) -> Starter:
        return Starter(self.file.parent, self.address, **{VARIABLE: self.keys}, **more)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[WorkerProcess]:
        """A worker that has come up."""
        async with self.worker() as worker:
            yield await worker.awake()

    def worker(self, *arguments: str, keys: str | None = None) -> WorkerProcess:
        environment: Any = {VARIABLE: self.keys if keys is None else keys, "OLLAMA_HOST": self.model_server}
        return WorkerProcess(self.file.parent, *arguments, TEMPORAL_ADDRESS=self.address, **environment)

    async def raw(self, *parts: str) -> dict[str, bytes]:
        """What the server keeps of each workflow of this image, as it keeps it.

        `parts`: which it must list beside the image, as "task/one"; its lists lag behind.
        """
        expected = {self.name, *(f"{self.name}/{part}" for part in parts)}

        async def listed() -> list[WorkflowExecution]:
            found = [each async for each in self.client.list_workflows() if each.id.startswith(self.name)]
            return found if expected <= {each.id for each in found} else []

        raw = {}
        for each in await until(listed):
            handle = self.client.get_workflow_handle(each.id, run_id=each.run_id)
            raw[each.id] = b"".join(
                [event.SerializeToString(deterministic=True) async for event in handle.fetch_history_events()]
            )
        return raw

    async def idles(self) -> bool:
        """Whether nothing is under way in the image: its history stays as it is, worker or none."""
        raw = (await self.image.describe()).raw_description
        return not (raw.HasField("pending_workflow_task") or raw.pending_activities or raw.pending_children)

    async def key_ids(self, workflow_id: str) -> list[str]:
        """The ids of the keys of a history's payloads in their order; empty for those that all can read."""
        handle = self.client.get_workflow_handle(workflow_id)
        return [
            payload.metadata["encryption-key-id"].decode() if "encryption-key-id" in payload.metadata else ""
            async for event in handle.fetch_history_events()
            for payload in payloads_in(event)
        ]

    async def readable(self) -> set[tuple[str, bytes]]:
        """Every payload of its histories that is not encrypted, with the event that it stands in."""
        return {
            (EventType.Name(event.event_type), payload.data)
            async for each in self.client.list_workflows()
            if each.id.startswith(self.name)
            async for event in self.client.get_workflow_handle(each.id).fetch_history_events()
            for payload in payloads_in(event)
            if not is_sealed(payload)
        }


def kept_by(folder: Path) -> bytes:
    """Every byte that a dev server keeps in its folder."""
    # The log before the database, into which it goes meanwhile.
    return b"".join(file.read_bytes() for file in sorted(folder.glob("temporal.db*"), reverse=True))
