"""The person of this life: hands in, rates, decides, edits, saves, and asks until there is an answer."""

import asyncio
import contextlib
import os
import random
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import tomlkit
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError

from benchmarks.chaos.checker import Values, difference, values_of
from configuration import put
from connection.server import if_there
from connection.talking import was_passed_over
from messages.files import SnapshotReceipt
from messages.image import Rated
from messages.loops import LoopConcluded, LoopReceipt, ProposalView
from messages.tasks import LogReceipt, TaskReceipt
from messages.verification import VerificationView
from testbed.fake_ollama import FakeOllama
from testbed.world import Image
from workflows.living_image import LivingImage
from workflows.philosophical_loop import PhilosophicalLoop

Answer = TypeVar("Answer")

PATIENCE_SECONDS = 600.0
ASK_AGAIN_AFTER_SECONDS = 6.0
LOOK_EVERY_SECONDS = 0.2
PACE = "custom.pace.value"
"""What the image asks to change: external logs say that more of it is better. It goes from 0 to 3."""
TURNED_DOWN = [0.99, 0.7, 0.4, 0.05]
"""The dissonance of these logs at each pace."""
THINKING = ("analysing", "trying")


class NoAnswer(Exception):
    """Nobody answered for as long as a person has patience; a violation."""


class Person:
    """What she did is what the checker holds the image against."""

    def __init__(self, image: Image, fake: FakeOllama, chance: random.Random) -> None:
        self.image, self.fake, self.chance = image, fake, chance
        self.tasks: list[str] = []
        self.ratings: dict[str, float] = {}
        self.said: dict[str, str] = {}
        self.edits: list[Values] = []
        self.receipts: list[SnapshotReceipt] = []

    async def insist(self, what: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask until there is an answer, be it a refusal. Raises NoAnswer."""
        last: Exception | None = None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    try:
                        async with asyncio.timeout(ASK_AGAIN_AFTER_SECONDS):
                            return await ask()
                    except (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError) as error:
                        last = error
                    except WorkflowUpdateFailedError as error:
                        if not was_passed_over(error):
                            raise
                        last = error
                    await asyncio.sleep(LOOK_EVERY_SECONDS)
        except TimeoutError:
            raise NoAnswer(
                f"{what}: no answer within {PATIENCE_SECONDS:g} s; the last was {last!r}"
            ) from None

    async def update(self, name: str, message: object, answer: type[Answer]) -> Answer:
        """An update of the image, always under the same id. Raises WorkflowUpdateFailedError, NoAnswer."""
        key = uuid.uuid4().hex
        return await self.insist(
            name,
            lambda: self.image.image.execute_update(name, message, id=key, result_type=answer),
        )

    # --- tasks ---

    async def ask(self, count: int) -> list[str]:
        """Hand in so many tasks at once; their ids once all are accepted."""
        ids = [f"t{len(self.tasks) + number}" for number in range(count)]
        self.tasks += ids
        await asyncio.gather(*map(self._hand_in, ids))
        return ids

    async def _hand_in(self, task_id: str) -> None:
        task = {"task": f"What of {task_id}?", "task_id": task_id, "task_type": self.chance.choice("ab")}
        await self.update("submit_task", task, TaskReceipt)

    async def finished(self, ids: list[str]) -> None:
        """Wait until the dialogues of tasks have ended; the server knows without any worker."""
        for task_id in ids:
            dialogue = self.image.client.get_workflow_handle(f"{self.image.name}/task/{task_id}")

            async def ended(dialogue: WorkflowHandle[Any, Any] = dialogue) -> bool:
                about = await if_there(dialogue.describe())
                return about is not None and about.status is not WorkflowExecutionStatus.RUNNING

            while not await self.insist(task_id, ended):  # noqa: ASYNC110 (a server is only asked)
                await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def rate(self) -> None:
        """Say what she thinks of some answers."""
        views = await self.insist("tasks", lambda: self.image.image.query(LivingImage.tasks))
        answered = [view.task_id for view in views if view.outcome in ("converged", "max_turns")]
        for task_id in self.chance.sample(answered[-20:], min(2, len(answered))):
            rating = round(self.chance.random(), 2)
            rated = {"task_id": task_id, "rating": rating, "rated_by": "Ada"}
            with contextlib.suppress(WorkflowUpdateFailedError):  # it is too long ago by now
                await self.update("rate_task", rated, Rated)
                self.ratings[task_id] = rating

    async def hand_in_logs(self) -> None:
        """What speaks for more pace."""
        state = await self.insist("state", self.image.state)
        pace = state.settings.tuned()[PACE]
        assert isinstance(pace, int)
        for each in (pace, min(3, pace + 1)):
            under = state.settings.with_changes({PACE: each})
            log = {
                "outcome": "converged",
                "turn_count": 1,
                "final_dissonance": TURNED_DOWN[each],
                "settings_digest": under.digest(),
                "active_heuristics": under.tuned(),
                "conditions": state.ledger.conditions,
            }
            for _ in range(8):
                name = f"outside-{uuid.uuid4().hex[:8]}"
                await self.update("record_performance", {"task_id": name, **log}, LogReceipt)

    # --- proposals ---

    async def reflect(self) -> str:
        return (await self.update("reflect", None, LoopReceipt)).loop_id

    async def proposal(self, loop_id: str) -> ProposalView:
        """What a loop has come to, once it can be decided or has ended."""
        loop = self.image.loop(loop_id)
        while True:
            view = await self.insist(loop_id, lambda: loop.query(PhilosophicalLoop.proposal))
            if view.state not in THINKING:
                return view
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def decide(self, loop_id: str, verdict: str) -> LoopConcluded:
        """Approve a proposal, sometimes with a value of her own, or reject it."""
        view = await self.proposal(loop_id)
        own = {}
        if verdict == "approve" and any(change.key == PACE and change.old == 2 for change in view.changes):
            own = {PACE: 0}  # so that there is more to ask for
        decision = {"verdict": verdict, "approver": "Ada", "proposal_digest": view.digest, "changes": own}
        key, loop = uuid.uuid4().hex, self.image.loop(loop_id)
        self.said[loop_id] = verdict
        return await self.insist(
            f"decide {loop_id}",
            lambda: loop.execute_update("decide", decision, id=key, result_type=LoopConcluded),
        )

    async def decline(self, loop_ids: list[str]) -> None:
        """Reject what waits for her and was not looked at yet."""
        for loop_id in loop_ids:
            if loop_id not in self.said and (await self.proposal(loop_id)).state == "pending":
                await self.decide(loop_id, "reject")

    async def verification(self) -> VerificationView | None:
        return await self.insist("verification", lambda: self.image.image.query(LivingImage.verification))

    # --- files ---

    async def edit(self, values: Values) -> None:
        """Edit settings.toml as a careful editor does: whole, and not over what somebody else has written."""
        file = self.image.file
        while True:
            before = file.read_text()
            document = tomlkit.parse(before)
            for dotted, value in values.items():
                put(document, dotted, value)
            if (after := tomlkit.dumps(document)) == before:
                return
            if _saved(file, before, after):
                self.edits.append(difference(values_of(before) or {}, values_of(after) or {}))
                return
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def save(self) -> SnapshotReceipt | None:
        """A snapshot, or None where it could not be written."""
        try:
            receipt = await self.update("save_image", None, SnapshotReceipt)
        except WorkflowUpdateFailedError:
            return None
        self.receipts.append(receipt)
        return receipt


def _saved(file: Path, before: str, after: str) -> bool:
    """Whether there was room for a text, and nobody else had written one."""
    new: Any = file.with_name("edited by hand")
    try:
        new.write_text(after)
        if file.read_text() != before:
            return False
        os.replace(new, file)  # noqa: PTH105
    except OSError:
        return False
    return True
