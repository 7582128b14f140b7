"""One living image and its children, as the commands reach them: typed answers or a Problem."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)

from connection import tracing
from connection.codec import require_keys
from connection.places import SETTINGS, STATE_DIR
from connection.plain_words import Addressee, failure, in_plain_words
from connection.problems import Problem, Refused, Unknown
from connection.server import connect, if_there
from connection.speech import heard_of
from connection.talking import ANSWER_WITHIN, Line
from connection.web_ui import inbox_url, known_web_ui
from desk.problems import no_task, waits_because
from desk.which import image_named_in, read_settings
from messages.calls import Heard
from messages.files import SnapshotReceipt
from messages.image import Amendment, HistoryEntry, ImageStatus, Rated, ReloadReceipt
from messages.loops import LoopConcluded, LoopReceipt, ProposalView
from messages.names import loop_workflow_id, task_workflow_id
from messages.requests import (
    Decision,
    EndVerification,
    RateTask,
    Reason,
    ReloadSettings,
    Request,
    RevertSettings,
    SaveImage,
    SubmitTask,
    VerifySettings,
)
from messages.signatures import SignatureTaken
from messages.tasks import DialogueResult, PerformanceLog, TaskReceipt, TaskView, Transcript
from messages.trials import Observation
from messages.verification import VerificationView

if TYPE_CHECKING:
    from workflows.image_state import ImageState

# What a person waits for takes seconds to minutes; looking more often would only load the worker.
LOOK_EVERY_SECONDS, OBSTRUCTED_LOOKS = 1.0, 3

Answer = TypeVar("Answer")


class Desk:
    """The image `image_id` on a server; all of it raises Problem. `settings`: the file that was named."""

    def __init__(self, client: Client, image_id: str, settings: Path | None = None) -> None:
        self.client = client
        self.image_id = image_id
        self.settings = settings
        self.server = client.service_client.config.target_host
        self._image: WorkflowHandle[Any, Any] = client.get_workflow_handle(image_id)

    @classmethod
    async def open(cls, image_id: str | None, settings: Path | None) -> Self:
        named = image_id or image_named_in(settings)
        client = await connect()
        await require_keys(client, named)
        return cls(client, named, settings)

    @property
    def inbox(self) -> str | None:
        """The Web UI's list of what waits for a person, where the Web UI is known."""
        web_ui = known_web_ui(self.server, STATE_DIR)
        return web_ui and inbox_url(web_ui, self.client.namespace)

    # --- the image ---

    async def start(self) -> bool:
        """Start the image; false when it lives already."""
        from connection.image import start_image

        _, values = read_settings(self.settings)
        if values.system.image_id != self.image_id:
            raise Problem(
                f"{self.settings or SETTINGS} is the settings file of {values.system.image_id!r}, "
                f"not of {self.image_id!r}. Change its [system] image_id, or name another file: --settings"
            )
        try:
            lives = not await self.ended()
        except Unknown:
            lives = False
        with in_plain_words(self.server, self._the_image):
            await start_image(self.client, values)
        return not lives

    async def status(self) -> ImageStatus:
        return await self._ask_image("status", ImageStatus)

    async def ended(self) -> str:
        """How the image's workflow ended, in Temporal's word, or nothing while it runs."""
        with in_plain_words(self.server, self._the_image):
            status = (await self._image.describe(rpc_timeout=ANSWER_WITHIN)).status
        return "" if status in (None, WorkflowExecutionStatus.RUNNING) else status.name.lower()

    async def tasks(self) -> list[TaskView]:
        return await self._ask_image("tasks", list[TaskView])

    async def logs(self) -> list[PerformanceLog]:
        return await self._ask_image("performance_logs", list[PerformanceLog])

    async def amendments(self) -> list[Amendment]:
        return await self._ask_image("amendments", list[Amendment])

    async def history(self) -> list[HistoryEntry]:
        return await self._ask_image("history", list[HistoryEntry])

    async def observations(self) -> list[Observation]:
        return await self._ask_image("observations", list[Observation])

    async def verification(self) -> VerificationView | None:
        """The verification under way or the last one; None where nothing was verified yet."""
        either: Any = VerificationView | None  # which is no `type` to mypy
        answer: VerificationView | None = await self._ask_image("verification", either)
        return answer

    async def state(self) -> "ImageState":
        from workflows.image_state import ImageState

        return await self._ask_image("state", ImageState)

    async def submit(self, request: SubmitTask) -> TaskReceipt:
        request = request.model_copy(update={"trace": tracing.current()})
        return await self._tell_image("submit_task", request, TaskReceipt)

    async def rate(self, request: RateTask) -> Rated:
        return await self._tell_image("rate_task", request, Rated)

    async def reflect(self, request: Reason) -> LoopReceipt:
        return await self._tell_image("reflect", request, LoopReceipt)

    async def reload(self) -> ReloadReceipt:
        return await self._tell_image("reload_settings", ReloadSettings(), ReloadReceipt)

    async def revert(self, request: RevertSettings) -> ReloadReceipt:
        return await self._tell_image("revert_settings", request, ReloadReceipt)

    async def verify(self, request: VerifySettings) -> VerificationView:
        return await self._tell_image("verify_settings", request, VerificationView)

    async def end_verification(self, request: EndVerification) -> VerificationView:
        return await self._tell_image("end_verification", request, VerificationView)

    async def save(self, request: SaveImage) -> SnapshotReceipt:
        return await self._tell_image("save_image", request, SnapshotReceipt)

    async def pause(self, request: Reason) -> ImageStatus:
        return await self._tell_image("pause", request, ImageStatus)

    async def resume(self, request: Reason) -> ImageStatus:
        return await self._tell_image("resume", request, ImageStatus)

    async def retire(self, request: Reason) -> ImageStatus:
        return await self._tell_image("retire", request, ImageStatus)

    async def until_ended(self) -> None:
        """Wait for the image's workflow to complete, however long its last tasks take."""
        try:
            with in_plain_words(self.server, self._the_image):
                await self._image.result()
        except WorkflowFailureError as error:
            raise Refused(f"{self.image_id} ended otherwise. {failure(error)}") from None

    # --- its tasks ---

    async def task(self, task_id: str) -> tuple[TaskView | None, int]:
        """A task as the image knows it, and its place in the queue (0: not in the queue)."""
        tasks = await self.tasks()
        queued = [task.task_id for task in tasks if task.phase == "queued"]
        view = next((task for task in tasks if task.task_id == task_id), None)
        return view, queued.index(task_id) + 1 if task_id in queued else 0

    async def result(self, task_id: str) -> DialogueResult | None:
        """Wait for a dialogue's end; None when there is none (yet). Raises Refused when the task failed."""
        try:
            with in_plain_words(self.server, self._the_task(task_id)):
                return await if_there(self._dialogue(task_id).result())
        except WorkflowFailureError as error:
            raise Refused(f"Task {task_id} failed. {failure(error)}") from None

    async def transcript(self, task_id: str) -> Transcript:
        line = self._line(self._dialogue(task_id), self._the_task(task_id))
        return await line.ask("transcript", Transcript)

    async def heard(self, task_id: str) -> Heard | None:
        """What is being said in a dialogue at this moment; None between the calls of its personas."""
        with in_plain_words(self.server, self._the_task(task_id)):
            return await heard_of(self.client, task_workflow_id(self.image_id, task_id))

    def _dialogue(self, task_id: str) -> WorkflowHandle[Any, DialogueResult]:
        workflow_id = task_workflow_id(self.image_id, task_id)
        return self.client.get_workflow_handle(workflow_id, result_type=DialogueResult)

    def _the_task(self, task_id: str) -> Addressee:
        return Addressee(f"task {task_id}", no_task(self.image_id, task_id))

    # --- its loops ---

    def loop_id(self, given: str) -> str:
        """The full id of a loop given as `3`, `loop/3` or in full."""
        number = given.removeprefix(f"{self.image_id}/").removeprefix("loop/")
        return loop_workflow_id(self.image_id, number)

    async def pending(self) -> list[ProposalView]:
        """The proposals that wait for a person."""
        loops = (await self.status()).waiting_loops
        views = await asyncio.gather(*(self.proposal(loop) for loop in loops))
        return [view for view in views if view.state == "pending"]

    async def proposal(self, loop_id: str) -> ProposalView:
        return await self._line(self._loop(loop_id), self._the_loop(loop_id)).ask("proposal", ProposalView)

    async def events(self, loop_id: str) -> AsyncIterator[Any]:
        """The events of a loop's history."""
        with in_plain_words(self.server, self._the_loop(loop_id)):
            async for event in self._loop(loop_id).fetch_history_events():
                yield event

    async def decide(self, loop_id: str, decision: Decision) -> LoopConcluded | SignatureTaken:
        ended = Refused(f"{loop_id} has ended meanwhile. See: python starter.py show {loop_id}")
        line = self._line(self._loop(loop_id), Addressee(loop_id, ended))
        watch = partial(self._obstructed, loop_id)
        either: Any = LoopConcluded | SignatureTaken  # which is no `type` to mypy
        answer: LoopConcluded | SignatureTaken = await line.tell("decide", decision, either, watch=watch)
        return answer

    async def _obstructed(self, loop_id: str) -> str:
        """Wait until a loop cannot carry out its decision for longer than a moment."""
        seen = 0
        while seen < OBSTRUCTED_LOOKS:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            with contextlib.suppress(Problem):  # whoever waits for the answer tells of it
                view = await self.proposal(loop_id)
                seen = seen + 1 if view.obstacle else 0
        return f"Your decision on {loop_id} is taken. It {waits_because(view)}"

    def _the_loop(self, loop_id: str) -> Addressee:
        missing = Unknown(f"There is no loop {loop_id} at {self.server}. See: python starter.py amendments")
        return Addressee(loop_id, missing)

    def _loop(self, loop_id: str) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(loop_id)

    # --- how to talk ---

    @property
    def _the_image(self) -> Addressee:
        name = f"living image {self.image_id!r}"
        missing = Unknown(f"No {name} runs at {self.server}. Start it: python starter.py start")
        return Addressee(f"the {name}", missing)

    async def _ask_image(self, query: str, answer: type[Answer]) -> Answer:
        return await self._line(self._image, self._the_image).ask(query, answer)

    async def _tell_image(self, update: str, request: Request, answer: type[Answer]) -> Answer:
        return await self._line(self._image, self._the_image).tell(update, request, answer)

    def _line(self, handle: WorkflowHandle[Any, Any], to: Addressee) -> Line:
        return Line(self.client, handle, to)
