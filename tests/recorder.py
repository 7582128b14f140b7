"""An image whose histories are kept for replay, without anything of the machine they were recorded on."""

import base64
import getpass
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError

from configuration import Value
from messages.loops import LoopConcluded
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until

HISTORIES = Path(__file__).parent / "histories"


class Recorder(World):
    """An image under a fixed name, whose histories go into tests/histories."""

    def __init__(
        self, client: Client, ollama: FakeOllama, folder: Path, name: str, settings: dict[str, Value]
    ) -> None:
        super().__init__(client, ollama, folder)
        self.name = name
        # The model server is named by OLLAMA_HOST, so that no port of this machine is in the settings.
        own = {"system.image_id": name, "system.task_queue": name, "models.host": ""}
        self.edit({**own, "autopoiesis.max_turns": 2, **settings})
        self._folder = folder

    async def save(self, title: str, workflow_id: str, run_id: str | None = None) -> None:
        """Write one history to a file, without anything of the machine it was recorded on."""
        history = await self.client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        replaced = {str(self._folder): "/image", self.ollama.url: "http://model"}
        text = _scrub(history.to_json(), replaced | {f"let {getpass.getuser()} ": "let somebody "})
        (HISTORIES / f"{title}.json").write_text(text)
        print(f"{title}: {len(history.events)} events, {len(text) // 1024} KiB")

    async def save_runs(self, title: str) -> None:
        """Write the histories of all runs of the image, the first as number 1."""
        run_ids = [(await self.image.describe()).run_id]
        while True:
            handle = self.client.get_workflow_handle(self.name, run_id=run_ids[0])
            first = await anext(handle.fetch_history_events())
            earlier = first.workflow_execution_started_event_attributes.continued_execution_run_id
            if not earlier:
                break
            run_ids.insert(0, earlier)
        for number, run_id in enumerate(run_ids, 1):
            await self.save(f"{title}-run-{number}", self.name, run_id)

    async def argue(self, title: str, labels: list[str], research: bool = False) -> None:
        """Argue one task out, so that the model's judgements are the given ones, and save the dialogue."""
        self.ollama.script.labels = labels
        self.ollama.script.needs_research = research
        receipt = await self.submit(f"What of {title.replace('-', ' ')}?", task_id=title)
        try:
            await self.result(receipt)
        except WorkflowFailureError as error:
            print(f"{title}: failed as it should, {error.cause}")
        await self.quiet()
        await self.save(f"dialogue-{title}", receipt.workflow_id)

    async def quiet(self) -> None:
        """Wait until no task runs and no loop is open, and the image has heard of it."""

        async def nothing_runs() -> bool:
            image = (await self.image.describe()).raw_description
            status = await self.status()
            busy = image.pending_children or image.HasField("pending_workflow_task")
            return not (busy or status.running or status.queued or status.waiting_loops)

        await until(nothing_runs)

    async def decide(self, loop_id: str, verdict: str = "approve", **more: Any) -> LoopConcluded:
        await self.proposal(loop_id)
        return await super().decide(loop_id, verdict, **more)


# --- the scenes ---


# --- what must not leave this machine ---


def _scrub(history: str, replaced: dict[str, str]) -> str:
    """A history as JSON, one event a line, without names, paths and ports of the machine.

    `replaced`: texts of the machine, with what stands for them.
    """
    person = getpass.getuser()
    worker = f"{os.getpid()}@{socket.gethostname()}"  # in the names of sticky task queues, too

    def payload(data: str) -> str:
        text = base64.b64decode(data).decode()
        for found, instead in replaced.items():
            text = text.replace(found, instead)
        for role in ("owner", "decided_by"):
            text = text.replace(f'"{role}":"{person}"', f'"{role}":"somebody"')
        return base64.b64encode(text.encode()).decode()

    def scrub(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: scrub(name, each) for name, each in value.items()}
        if isinstance(value, list):
            return [scrub(key, each) for each in value]
        if key == "data":
            return payload(value)
        if key.lower().endswith("identity"):
            return "test"
        if key == "stackTrace":
            return ""
        if isinstance(value, str):
            for found, instead in (replaced | {worker: "test"}).items():
                value = value.replace(found, instead)
        return value

    events = scrub("", json.loads(history)["events"])
    text = (
        '{"events": [\n' + ",\n".join(json.dumps(event, separators=(",", ":")) for event in events) + "\n]}\n"
    )
    _assert_nothing_of_this_machine(text)
    return text


def _assert_nothing_of_this_machine(text: str) -> None:
    plain = re.sub(r'"data":"([^"]*)"', lambda found: base64.b64decode(found[1]).decode(), text)
    root = str(Path(__file__).parents[1])
    for private in (root, str(Path.home()), socket.gethostname(), "/tmp", "127.0.0.1", "localhost"):
        assert not re.search(rf"(?<!\w){re.escape(private)}\b", plain), f"{private} would be in a history"
