"""One living image with everything around it, its people included."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import tomlkit
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.model_server.backend import ModelBackend
from activities.personas import Personas
from activities.prompts import PROMPTS
from configuration import Settings, Value, put
from connection.image import start_image
from connection.talking import was_passed_over
from messages.image import ImageStatus
from messages.loops import LoopConcluded, LoopReceipt, ProposalView
from messages.tasks import DialogueResult, LogReceipt, TaskReceipt
from runtime.model_backend import RunningModel
from runtime.workers import running_workers
from testbed.fake_ollama import FakeOllama
from testbed.processes import ROOT
from workflows.dialogue import Dialogue
from workflows.image_state import ImageState
from workflows.living_image import LivingImage
from workflows.philosophical_loop import PhilosophicalLoop

SETTINGS = ROOT / "settings.toml"

Result = TypeVar("Result")

OTHER: Mapping[str, Value] = {"autopoiesis.convergence_threshold": 0.5}
"""What an image may ask for once one turn more was declined."""


async def until(condition: Callable[[], Awaitable[Any]], timeout_seconds: float = 60) -> Any:
    """Wait until a condition holds and return what it gave."""
    async with asyncio.timeout(timeout_seconds):
        while not (held := await condition()):  # noqa: ASYNC110 (nothing to be told by)
            await asyncio.sleep(0.1)
    return held


async def answer(ask: Callable[[], Awaitable[Result]], timeout_seconds: float = 30) -> Result:
    """The answer to a query, asked again while the server knows of no worker that would take it."""
    asked_until = time.monotonic() + timeout_seconds
    while True:
        try:
            return await ask()
        except RPCError as error:
            if error.status is not RPCStatusCode.FAILED_PRECONDITION or time.monotonic() > asked_until:
                raise
        await asyncio.sleep(0.1)


async def exists(handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether a workflow is there and answers: for a moment a child has no workflow task, and does not."""
    try:
        described = await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return described.history_length > 1


def edit(file: Path, values: Mapping[str, Value]) -> None:
    """Edit a settings.toml as a person would; the values by their dotted keys."""
    document = tomlkit.parse(file.read_text())
    for dotted, value in values.items():
        put(document, dotted, value)
    file.write_text(tomlkit.dumps(document))


def shipped_settings(
    folder: Path, values: Mapping[str, Value] | None = None, shipped: Path = SETTINGS
) -> Path:
    """The shipped settings.toml in a folder, with other values for some keys."""
    file = folder / "settings.toml"
    file.write_text(shipped.read_text())
    edit(file, values or {})
    return file


class Image:
    """One image and its file, wherever its workers run.

    `settings` overrides keys of the shipped settings.toml, by dotted key; `host` is its model server.
    """

    shipped = SETTINGS

    def __init__(
        self, client: Client, host: str, folder: Path, settings: Mapping[str, Value] | None = None
    ) -> None:
        self.client = client
        self.name = f"image-{uuid.uuid4().hex[:10]}"
        self.file = shipped_settings(
            folder,
            {
                "system.image_id": self.name,
                "system.task_queue": self.name,
                "models.host": host,
                "cadence.min_logs": 8,
                "autopoiesis.max_turns": 2,
                # Proposals come from the numbers alone, and at once.
                "optimizer.trial_tasks": 0,
                "optimizer.creator": "off",
                "optimizer.judge": "off",
                # What is approved is not verified.
                "optimizer.verify_blocks": 0,
                **(settings or {}),
            },
            self.shipped,
        )

    async def start(self) -> None:
        await start_image(self.client, self.on_file())

    # --- the file ---

    def edit(self, values: Mapping[str, Value]) -> None:
        edit(self.file, values)

    def on_file(self) -> Settings:
        return Settings.parse(tomlkit.parse(self.file.read_text()).unwrap())

    # --- the image ---

    @property
    def address(self) -> str:
        """That of its Temporal server."""
        return self.client.service_client.config.target_host

    @property
    def image(self) -> WorkflowHandle[LivingImage, ImageState]:
        return self.client.get_workflow_handle_for(LivingImage.run, self.name)

    async def submit(self, task: str, **more: Any) -> TaskReceipt:
        return await self.update("submit_task", {"task": task, **more}, TaskReceipt)

    async def update(self, name: str, message: object, result: type[Result], **options: Any) -> Result:
        """Send an update to the image as any program would: by name, with plain JSON, until it is answered.

        The server hands back updates that reach it at the very moment of a continue-as-new: not taken, and
        free to be sent again; so are those that a worker was given, and did not mention; and it may give up
        waiting for a worker. The same update id makes it safe whatever became of the first one.
        """
        options.setdefault("id", uuid.uuid4().hex)
        while True:
            try:
                answer: Result = await self.image.execute_update(name, message, result_type=result, **options)
            except RPCError as error:
                if error.status is not RPCStatusCode.FAILED_PRECONDITION:
                    raise
            except WorkflowUpdateFailedError as error:
                if not was_passed_over(error):
                    raise
            except WorkflowUpdateRPCTimeoutOrCancelledError:
                pass
            else:
                return answer
            await asyncio.sleep(0.02)

    async def ask(self, task: str, **more: Any) -> DialogueResult:
        return await self.result(await self.submit(task, **more))

    async def result(self, receipt: TaskReceipt) -> DialogueResult:
        """What a dialogue comes to. It exists from the moment its task leaves the queue."""
        dialogue = self.client.get_workflow_handle_for(Dialogue.run, receipt.workflow_id)
        await until(lambda: exists(dialogue))
        return await dialogue.result()

    async def status(self) -> ImageStatus:
        return await answer(lambda: self.image.query(LivingImage.status))

    async def state(self) -> ImageState:
        return await answer(lambda: self.image.query(LivingImage.state))

    async def tasks_finished(self) -> None:
        """Wait until no task runs or waits, however many there are."""

        async def quiet() -> bool:
            status = await self.status()
            return status.queued == status.running == 0

        await until(quiet, 150)

    async def at_rest(self, children: int = 0) -> None:
        """Wait until the server has nothing more to tell the image, and it waits for so many children."""

        async def quiet() -> bool:
            image = (await self.image.describe()).raw_description
            busy = image.HasField("pending_workflow_task") or image.pending_activities
            return not busy and len(image.pending_children) == children

        await until(quiet)

    # --- its loops ---

    def loop(self, loop_id: str) -> WorkflowHandle[PhilosophicalLoop, LoopConcluded]:
        return self.client.get_workflow_handle_for(PhilosophicalLoop.run, loop_id)

    async def reflect(self) -> str:
        """Open a loop by hand and return its workflow id. It is there, also one that the image has begun."""
        loop_id = (await self.update("reflect", None, LoopReceipt)).loop_id
        await until(lambda: exists(self.loop(loop_id)))
        return loop_id

    async def proposal(self, loop_id: str, state: str = "pending") -> ProposalView:
        """What a loop proposes, once it is in a given state."""

        await until(lambda: exists(self.loop(loop_id)))

        async def reached() -> ProposalView | None:
            view = await answer(lambda: self.loop(loop_id).query(PhilosophicalLoop.proposal))
            assert view.state in (state, "analysing", "rewriting"), view
            return view if view.state == state else None

        view: ProposalView = await until(reached)
        return view

    async def decide(self, loop_id: str, verdict: str = "approve", **more: Any) -> LoopConcluded:
        """Decide a proposal as a person, by default Ada, does."""
        decision = {"verdict": verdict, "approver": "Ada", **more}
        concluded: LoopConcluded = await self.loop(loop_id).execute_update(
            "decide", decision, result_type=LoopConcluded
        )
        return concluded

    async def loops_concluded(self, timeout_seconds: float = 60) -> None:
        """Wait until every loop has ended and the image has heard how."""

        async def heard() -> bool:
            return not (await self.status()).waiting_loops

        await until(heard, timeout_seconds)

    async def record_logs(self, count: int, under: Mapping[str, Value] | None = None, **more: Any) -> None:
        """Hand in logs from outside, of arguments that ran out of turns; under present settings or others."""
        settings = (await self.state()).settings.with_changes(dict(under or {}))
        log = {
            "outcome": "max_turns",
            "turn_count": settings.autopoiesis.max_turns,
            "final_dissonance": 1.0,
            "settings_digest": settings.digest(),
            "active_heuristics": settings.heuristics(),
            **more,
        }
        for _ in range(count):
            name = f"outside-{uuid.uuid4().hex[:8]}"
            await self.update("record_performance", {"task_id": name, **log}, LogReceipt)

    async def record_reasons(self, better: Mapping[str, Value] | None = None) -> None:
        """Hand in arguments under other values that agreed, and under the present ones that did not.

        By default what speaks for one turn more.
        """
        turns = (await self.state()).settings.autopoiesis.max_turns
        better = better or {"autopoiesis.max_turns": turns + 1}
        await self.record_logs(4, better, outcome="converged", final_dissonance=0.1)
        await self.record_logs(4)

    async def pending_proposal(self, better: Mapping[str, Value] | None = None) -> ProposalView:
        """A proposal that waits for a person: one turn more, or what else was better."""
        await self.record_reasons(better)
        return await self.proposal(await self.reflect())


class World(Image):
    """An image with its workers in this process and a scripted model server."""

    def __init__(
        self,
        client: Client,
        ollama: FakeOllama,
        folder: Path,
        settings: Mapping[str, Value] | None = None,
        max_cached_workflows: int = 1000,
        *,
        prompts: Path = PROMPTS,
    ) -> None:
        super().__init__(client, ollama.url, folder, settings)
        self.ollama = ollama
        self._max_cached_workflows = max_cached_workflows
        self._prompts = prompts
        self._compute = AsyncExitStack()
        self.personas: Personas | None = None
        self._files = AsyncExitStack()
        self.state_dir = folder / ".state"

    async def __aenter__(self) -> Self:
        await self.start_workers()
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_workers()
        # Nobody is left to answer its timers, and the server would go on asking.
        with suppress(RPCError):
            await self.image.terminate()

    async def start_workers(self) -> None:
        await self.start_files_worker()
        self.personas = await self._compute.enter_async_context(
            running_workers(
                self.client,
                self.name,
                model=RunningModel(ModelBackend()),
                state_dir=self.state_dir,
                prompts=self._prompts,
                max_cached_workflows=self._max_cached_workflows,
            )
        )

    async def start_files_worker(self) -> None:
        await self._files.enter_async_context(running_workers(self.client, self.name, settings=self.file))

    async def stop_files_worker(self) -> None:
        await self._files.aclose()

    async def stop_workers(self) -> None:
        await self._compute.aclose()
        await self.stop_files_worker()
