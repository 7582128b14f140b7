"""One living image with everything around it, as the tests of workflows use it."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import tomlkit
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from activities.optimizer import propose_amendment
from activities.personas import ModelBackend, Personas
from activities.settings import SettingsFiles
from activities.supervision import Children
from configuration import Settings, Value
from messages import DialogueResult, TaskReceipt
from tests.fake_ollama import FakeOllama
from workflows.dialogue import Dialogue
from workflows.image_state import ImageStart, ImageState
from workflows.living_image import LivingImage
from workflows.philosophical_loop import PhilosophicalLoop

SETTINGS = Path(__file__).parents[1] / "settings.toml"


async def until(condition: Callable[[], Awaitable[Any]], timeout_seconds: float = 60) -> Any:
    """Wait until a condition holds and return what it gave."""
    async with asyncio.timeout(timeout_seconds):
        while not (held := await condition()):  # noqa: ASYNC110 (nothing to be told by)
            await asyncio.sleep(0.05)
    return held


async def exists(handle: WorkflowHandle[Any, Any]) -> bool:
    try:
        await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


class World:
    """`settings` overrides keys of the shipped settings.toml, by dotted key."""

    def __init__(
        self,
        client: Client,
        ollama: FakeOllama,
        folder: Path,
        settings: dict[str, Value] | None = None,
        **worker_options: Any,
    ) -> None:
        self.client = client
        self.ollama = ollama
        self.name = f"image-{uuid.uuid4().hex[:10]}"
        self.file = folder / "settings.toml"
        self.file.write_text(SETTINGS.read_text())
        self.edit(
            {
                "system.image_id": self.name,
                "system.task_queue": self.name,
                "models.host": ollama.url,
                "cadence.min_logs": 4,
                **(settings or {}),
            }
        )
        self._worker_options = worker_options
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for worker in self.workers():
            await self._stack.enter_async_context(worker)
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def workers(self) -> list[Worker]:
        personas = Personas(ModelBackend())
        files = SettingsFiles(self.file)
        return [
            Worker(
                self.client,
                task_queue=self.name,
                workflows=[LivingImage, Dialogue, PhilosophicalLoop],
                activities=[
                    personas.plan,
                    personas.speak,
                    personas.judge_dissonance,
                    propose_amendment,
                    Children(self.client).find_closed,
                ],
                **self._worker_options,
            ),
            Worker(
                self.client,
                task_queue=f"{self.name}-files",
                activities=[files.read_settings, files.preview_rewrite, files.rewrite_settings],
                activity_executor=ThreadPoolExecutor(4),
            ),
        ]

    # --- the file ---

    def edit(self, values: dict[str, Value]) -> None:
        """Edit settings.toml as a person would."""
        document = tomlkit.parse(self.file.read_text())
        for dotted, value in values.items():
            section, _, key = dotted.partition(".")
            document[section][key] = value
        self.file.write_text(tomlkit.dumps(document))

    def on_file(self) -> Settings:
        return Settings.parse(tomlkit.parse(self.file.read_text()).unwrap())

    # --- the image ---

    async def start(self) -> None:
        await self.client.start_workflow(
            LivingImage.run, ImageStart(settings=self.on_file()), id=self.name, task_queue=self.name
        )

    @property
    def image(self) -> WorkflowHandle[LivingImage, ImageState]:
        return self.client.get_workflow_handle_for(LivingImage.run, self.name)

    async def submit(self, task: str, **more: Any) -> TaskReceipt:
        return await self.image.execute_update("submit_task", {"task": task, **more}, result_type=TaskReceipt)

    async def ask(self, task: str, **more: Any) -> DialogueResult:
        return await self.result(await self.submit(task, **more))

    async def result(self, receipt: TaskReceipt) -> DialogueResult:
        """What a dialogue comes to. It exists from the moment its task leaves the queue."""
        dialogue = self.client.get_workflow_handle_for(Dialogue.run, receipt.workflow_id)
        await until(lambda: exists(dialogue))
        return await dialogue.result()

    def loop(self, loop_id: str) -> WorkflowHandle[PhilosophicalLoop, Any]:
        return self.client.get_workflow_handle_for(PhilosophicalLoop.run, loop_id)

    async def state(self) -> ImageState:
        return await self.image.query(LivingImage.state)
