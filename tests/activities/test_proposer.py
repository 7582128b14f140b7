"""The optimizer computes in a process of its own, which is watched, and which nobody leaves behind."""

import asyncio
import time
from typing import Any

import psutil
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.proposer import propose_amendment
from configuration.reading import load_settings
from messages.loops import OptimizerAnswer, OptimizerRequest
from messages.tasks import PerformanceLog
from optimizer.turn_budget import propose
from testbed.world import SETTINGS


def a_request() -> OptimizerRequest:
    settings = load_settings(SETTINGS)
    log = PerformanceLog(
        task_id="t",
        final_dissonance=0.7,
        turn_count=4,
        outcome="max_turns",
        settings_digest=settings.digest(),
    )
    window = [log.model_copy(update={"task_id": f"t{number}"}) for number in range(120)]
    return OptimizerRequest(window=window, settings=settings, settings_digest=settings.digest())


class Computing(ActivityEnvironment):
    """An attempt whose process is held as soon as there is one, as if it computed for long."""

    def __init__(self) -> None:
        super().__init__()
        self.beats = 0
        self.on_heartbeat = self._count
        self.answer: asyncio.Task[OptimizerAnswer]
        self.process: psutil.Process

    def _count(self, *_: Any) -> None:
        self.beats += 1

    async def hold(self) -> None:
        before = set(psutil.Process().children())
        self.answer = asyncio.create_task(self.run(propose_amendment, a_request()))
        started: set[psutil.Process] = set()
        while not started:
            await asyncio.sleep(0)
            started = set(psutil.Process().children()) - before
        (self.process,) = started
        self.process.suspend()


async def test_the_answer_is_that_of_the_optimizer() -> None:
    request = a_request()
    answer = await ActivityEnvironment().run(propose_amendment, request)
    assert answer.proposal is not None
    assert answer == propose(request)


async def test_the_worker_sends_heartbeats_and_does_all_else_while_the_optimizer_computes() -> None:
    computing = Computing()
    await computing.hold()
    began, ticks = time.monotonic(), 0
    while computing.beats < 2:
        await asyncio.sleep(0.05)
        ticks += 1
    assert ticks > (time.monotonic() - began) / 0.05 / 4
    computing.process.resume()
    assert (await computing.answer).proposal is not None


async def test_a_cancelled_attempt_ends_its_process() -> None:
    computing = Computing()
    await computing.hold()
    computing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await computing.answer
    assert not computing.process.is_running()


async def test_a_process_that_dies_is_a_failure_with_a_name() -> None:
    computing = Computing()
    await computing.hold()
    computing.process.kill()
    with pytest.raises(
        ApplicationError, match=r"the optimizer ended with code -9 \(without a word\)$"
    ) as told:
        await computing.answer
    assert (told.value.type, told.value.non_retryable) == ("OptimizerFailed", False)
