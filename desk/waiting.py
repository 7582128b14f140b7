"""Waiting for what takes its time, and telling the person meanwhile how it goes."""

import asyncio
import contextlib
from datetime import timedelta

import durationpy
from rich.console import Console
from rich.status import Status

from connection.problems import Problem, Refused, Unknown
from desk import rendering, speech_rendering
from desk.client import LOOK_EVERY_SECONDS, Desk
from desk.problems import Interrupted, no_task, waits_because
from messages.loops import ProposalView
from messages.tasks import DialogueResult, Transcript


class TaskWatch:
    """One task until its end, told on `console`; with `follow`, all that is said as it comes."""

    def __init__(self, desk: Desk, task_id: str, console: Console, follow: bool) -> None:
        self._desk = desk
        self._task_id = task_id
        self._console = console
        self._follow = follow
        self._shown = 0
        self._place = 0

    async def result(self, timeout: timedelta | None) -> DialogueResult:
        """Raises Refused when the task failed, Interrupted on Ctrl-C, Problem when the time is over."""
        goes_on = f"The task goes on; wait for it again: python starter.py ask --task-id {self._task_id}"
        try:
            async with asyncio.timeout(timeout.total_seconds() if timeout else None):
                with self._console.status("The task is on its way") as status:
                    while (result := await self._await_dialogue(status)) is None:
                        await self._wait_in_queue()
                    return result
        except asyncio.CancelledError:
            raise Interrupted(goes_on) from None
        except (Refused, Unknown):
            raise
        except Problem as problem:
            raise Problem(f"{problem}. {goes_on}") from None
        except TimeoutError:
            within = durationpy.to_str(timeout or timedelta())
            raise Problem(f"No result within {within}. {goes_on}") from None

    async def _await_dialogue(self, status: Status) -> DialogueResult | None:
        """The dialogue's result, or None while the task waits for its dialogue."""
        waiting = asyncio.create_task(self._desk.result(self._task_id))
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=LOOK_EVERY_SECONDS)
                if self._follow or self._console.is_terminal:
                    await self._look(status)
            return await waiting
        finally:
            waiting.cancel()

    async def _look(self, status: Status) -> None:
        # A worker that is just being restarted is no reason to stop waiting.
        with contextlib.suppress(Problem):
            transcript = await self._desk.transcript(self._task_id)
            if self._follow:
                self._show_news(transcript)
            if transcript.speaking:
                heard = await self._desk.heard(self._task_id) if self._words_come else None
                status.update(speech_rendering.under_way(transcript.speaking, heard, self._console))

    @property
    def _words_come(self) -> bool:
        """Whether words are shown before they are complete: where they can be overwritten."""
        return self._follow and self._console.is_terminal

    def _show_news(self, transcript: Transcript) -> None:
        told = speech_rendering.pieces(transcript)
        for piece in told[self._shown :]:
            self._console.print(piece)
        self._shown = len(told)

    async def _wait_in_queue(self) -> None:
        task, place = await self._desk.task(self._task_id)
        if task is None:
            raise no_task(self._desk.image_id, self._task_id)
        if task.phase == "finished":
            # It may have come to its end since the last look; without a dialogue it never will.
            if await self._desk.result(self._task_id) is None:
                raise Refused(f"Task {self._task_id} failed. {task.failure}")
            return
        if place and place != self._place:
            self._console.print(rendering.words(f"Task {self._task_id} waits in the queue, place {place}."))
        self._place = place
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def until_settled(desk: Desk, loop_id: str) -> ProposalView:
    """Wait until a loop has a proposal to decide on, or has ended."""
    with rendering.err.status(f"{loop_id} looks at the logs"):
        while True:
            view = await desk.proposal(loop_id)
            if view.state not in ("analysing", "rewriting"):
                return view
            if view.obstacle:
                raise Problem(f"{loop_id} {waits_because(view)}")
            await asyncio.sleep(LOOK_EVERY_SECONDS)
