"""The optimizer computes in a process of its own, which is watched, and which nobody leaves behind."""

import asyncio
from contextlib import suppress
from typing import Any

import psutil
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.proposer import propose_amendment
from configuration.reading import load_settings
from messages.loops import OptimizerAnswer, OptimizerRequest
from messages.tasks import PerformanceLog
from messages.trials import Moments, Observation
from optimizer.consider import consider
from testbed.world import SETTINGS


def a_request() -> OptimizerRequest:
    """One turn more did better."""
    settings = load_settings(SETTINGS)
    more = settings.with_changes({"autopoiesis.max_turns": settings.autopoiesis.max_turns + 1})
    log = PerformanceLog(
        task_id="t",
        final_dissonance=0.7,
        turn_count=4,
        outcome="max_turns",
        settings_digest=settings.digest(),
    )
    return OptimizerRequest(
        window=[log.model_copy(update={"task_id": f"t{number}"}) for number in range(4)],
        settings=settings,
        settings_digest=settings.digest(),
        observations=[
            Observation(
                digest=under.digest(),
                values=under.heuristics(),
                dissonance={"question": Moments(n=8, mean=mean)},
                tokens={"question": Moments(n=8, mean=900)},
            )
            for under, mean in ((settings, 0.9), (more, 0.1))
        ],
        may_try=False,
    )


class Computing(ActivityEnvironment):
    """An attempt whose process is held, as if it computed for long."""

    def __init__(self) -> None:
        super().__init__()
        self.beats = 0
        self.on_heartbeat = self._count
        self.answer: asyncio.Task[OptimizerAnswer]
        self.process: psutil.Process

    def _count(self, *_: Any) -> None:
        self.beats += 1

    async def hold(self) -> None:
        # The one that has answered waits for the next question.
        await ActivityEnvironment().run(propose_amendment, a_request())
        (self.process,) = filter(is_the_optimizers, psutil.Process().children())
        self.process.suspend()
        self.answer = asyncio.create_task(self.run(propose_amendment, a_request()))
        while not self.beats:  # noqa: ASYNC110 (it begins before the question is asked)
            await asyncio.sleep(0.01)


def is_the_optimizers(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):  # it has just ended
        return "optimizer" in process.cmdline()
    return False


async def test_the_answer_is_that_of_the_optimizer() -> None:
    request = a_request()
    answer = await ActivityEnvironment().run(propose_amendment, request)
    assert answer.proposal is not None
    assert answer == consider(request)


async def test_the_worker_sends_heartbeats_and_does_all_else_while_the_optimizer_computes() -> None:
    computing = Computing()
    await computing.hold()
    ticks = 0
    while computing.beats < 4:
        await asyncio.sleep(0.05)
        ticks += 1
    computing.process.resume()
    assert ticks > 6  # of some sixty; of a loop that is held up from one beat to the next there are three
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
    with pytest.raises(ApplicationError, match="the optimizer's process ended with code -9") as told:
        await computing.answer
    assert (told.value.type, told.value.non_retryable) == ("OptimizerFailed", False)


async def test_what_the_optimizer_stumbles_over_is_a_failure_with_its_words() -> None:
    broken = a_request()
    broken.observations[0].values = {"autopoiesis.max_turns": "many"}
    with pytest.raises(ApplicationError, match=r"the optimizer failed .*many") as told:
        await ActivityEnvironment().run(propose_amendment, broken)
    assert told.value.type == "OptimizerFailed"
