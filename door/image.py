"""The image behind the door: it takes tasks, and tells how each of them stands."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)

from connection import tracing
from connection.plain_words import Addressee, in_plain_words, reason
from connection.problems import Problem, Unknown
from connection.server import if_there, target
from connection.speech import ANSWER_WITHIN, heard_in
from connection.talking import Line
from door.refusals import Refusal, failed, refusal_of
from messages.calls import Heard
from messages.image import SettingsView
from messages.names import IMAGE_PHASE, task_workflow_id
from messages.requests import SubmitTask
from messages.tasks import DialogueResult, TaskReceipt, TaskView, Transcript

RUNNING, COMPLETED = WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED
MOST_FAILURES = 20
"""So often the same may be asked again after it failed."""
FRESH_SECONDS = 0.9

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class View:
    """How a task stands. `place`: in the queue, 0 when it is not there.

    It is over with its `result` or its `failure`.
    """

    place: int = 0
    paused: bool = False
    transcript: Transcript | None = None
    heard: Heard | None = None
    result: DialogueResult | None = None
    failure: Refusal | None = None

    @property
    def is_over(self) -> bool:
        return self.result is not None or self.failure is not None


class Queue(NamedTuple):
    """All tasks that the image knows, those that wait in their order."""

    paused: bool
    tasks: Sequence[TaskView]
    seen_at: float


class Image:
    """The image `image_id` on a server. Raises Refusal, or what Temporal's client does."""

    def __init__(self, client: Client, image_id: str) -> None:
        self.client = client
        self.image_id = image_id
        self._image: WorkflowHandle[Any, Any] = client.get_workflow_handle(image_id)
        missing = Unknown(f"No living image {image_id!r} runs at {target(client)}; start it")
        self._to = Addressee(f"the living image {image_id!r}", missing)
        self._line = Line(client, self._image, self._to)
        self._queue: Queue | None = None
        self._looking = asyncio.Lock()

    async def hand_in(self, key: str, task: str) -> str:
        """The id of the task that a key names: one that goes on or is done, else a new one.

        What failed is argued anew when it is asked for again, under a name of its own.
        """
        for attempt in range(1, MOST_FAILURES + 2):
            task_id = f"chat-{key}" + (f"-{attempt}" if attempt > 1 else "")
            described = await self.described(self.dialogue(task_id))
            if described is None:
                await self._submit(SubmitTask(task=task, task_id=task_id, trace=tracing.current()))
                return task_id
            if described.status in (RUNNING, COMPLETED):
                return task_id
        raise failed("failed", f"this failed {MOST_FAILURES} times; ask it in other words")

    async def settings(self) -> SettingsView:
        try:
            return await self._line.ask("settings", SettingsView)
        except Problem as problem:
            raise await self._gone_or(problem) from None

    async def queue(self) -> Queue:
        """How the queue is: one look a second for all who wait. Raises Refusal once the image has ended."""
        async with self._looking:
            if self._queue is None or time.monotonic() - self._queue.seen_at >= FRESH_SECONDS:
                described = await self.described(self._image)
                if described is None or described.status is not RUNNING:
                    raise self._ended()
                paused = described.typed_search_attributes.get(IMAGE_PHASE) == "paused"
                tasks = await self._line.ask("tasks", list[TaskView])
                self._queue = Queue(paused, tasks, time.monotonic())
            return self._queue

    async def tell(self, update: str, request: BaseModel, answer: type[Answer]) -> Answer:
        """What the image answers to an update."""
        try:
            return await self._line.tell(update, request, answer)
        except Problem as problem:
            raise await self._gone_or(problem) from None

    def dialogue(self, task_id: str) -> WorkflowHandle[Any, DialogueResult]:
        workflow_id = task_workflow_id(self.image_id, task_id)
        return self.client.get_workflow_handle(workflow_id, result_type=DialogueResult)

    async def described(self, handle: WorkflowHandle[Any, Any]) -> WorkflowExecutionDescription | None:
        try:
            with in_plain_words(target(self.client), self._to):
                return await if_there(handle.describe(rpc_timeout=ANSWER_WITHIN))
        except Problem as problem:
            raise refusal_of(problem) from None

    async def _submit(self, request: SubmitTask) -> None:
        await self.tell("submit_task", request, TaskReceipt)
        async with self._looking:
            self._queue = None

    async def _gone_or(self, problem: Problem) -> Refusal:
        """Why the image does not answer: it has retired, or what the problem is."""
        if isinstance(problem, Unknown):
            described = await self.described(self._image)
            if described is not None and described.status is COMPLETED:
                return self._ended()
        return refusal_of(problem)

    def _ended(self) -> Refusal:
        return Refusal(
            410, f"the living image {self.image_id!r} has ended; it takes no tasks", "image_retired"
        )


class Looking:
    """Looks at one task. A look asks the worker only where the server knows of something new."""

    def __init__(self, image: Image, task_id: str) -> None:
        self._image = image
        self._task_id = task_id
        self._dialogue = image.dialogue(task_id)
        missing = Unknown(f"there is no task {task_id} any more")
        self._line = Line(image.client, self._dialogue, Addressee(f"task {task_id}", missing))
        self._events = 0
        self._transcript: Transcript | None = None

    async def look(self) -> View:
        """How the task stands now. Raises Problem or Refusal where nobody answers."""
        described = await self._image.described(self._dialogue)
        if described is None:
            return await self._look_into_the_queue()
        if described.history_length != self._events:
            self._transcript = await self._line.ask("transcript", Transcript)
            self._events = described.history_length
        if described.status is RUNNING:
            heard = await heard_in(self._image.client, described)
            return View(transcript=self._transcript, heard=heard)
        try:
            return View(transcript=self._transcript, result=await self._dialogue.result())
        except WorkflowFailureError as error:
            return View(transcript=self._transcript, failure=failed(*reason(error.cause)))

    async def _look_into_the_queue(self) -> View:
        queue = await self._image.queue()
        view = next((task for task in queue.tasks if task.task_id == self._task_id), None)
        if view is not None and view.phase == "queued":
            queued = [task.task_id for task in queue.tasks if task.phase == "queued"]
            return View(place=queued.index(self._task_id) + 1, paused=queue.paused)
        if view is not None and view.phase == "running":
            return View(paused=queue.paused)
        # It may have come to its end since it was looked for; without a dialogue it never will.
        if await self._image.described(self._dialogue) is not None:
            return await self.look()
        gone = view.failure if view else f"the image knows no task {self._task_id} any more; ask again"
        return View(failure=failed("not_argued", gone))
