"""An image that its worker cannot go on with, since the history has what the program does not do."""

import shlex
import subprocess
from typing import Any

from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from testbed.processes import TEMPORAL
from testbed.world import World, until
from tests.desk.command_line import Ran, Starter
from workflows.living_image import LivingImage


@workflow.defn(name="LivingImage", sandboxed=False)
class OfAnotherVersion(LivingImage):
    """It sets a timer at a signal, which the program of today does not."""

    @workflow.run
    async def run(self, start: Any = None) -> Any:
        return await super().run(start)

    @workflow.signal
    async def of_no_use(self) -> None:
        await workflow.sleep(1000)


async def test_an_image_that_cannot_go_on_is_told_with_the_way_out(world: World, starter: Starter) -> None:
    await world.ask("What was argued before?")
    await world.stop_workers()
    async with Worker(
        world.client,
        task_queue=world.name,
        workflows=[OfAnotherVersion],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        timers = await _timers(world)
        await world.image.signal("of_no_use")

        async def set_one() -> bool:
            return await _timers(world) > timers

        await until(set_one)
    await world.start_workers()
    await world.image.signal("of_no_use")
    image = (await until(lambda: _broken(starter))).finding("image")
    assert f"{world.name!r} does not go on, after " in image["figure"]
    assert "TMPRL1100" in image["figure"]
    status = await starter("status")
    assert status.code == 2
    assert "does not go on: its workflow task fails" in status.sentence
    assert "python starter.py doctor says why and what to do" in status.sentence
    _, command = image["advice"].split("where its history holds: temporal ")
    reset = [str(TEMPORAL), *shlex.split(command), "--address", world.address]
    subprocess.run(reset, check=True, capture_output=True)  # noqa: ASYNC221 (nothing else goes on)
    assert (await world.ask("And what after?")).outcome == "converged"
    assert (await world.status()).finished == 2
    assert (await starter("doctor", "--json")).finding("image")["state"] == "ok"


async def _broken(starter: Starter) -> Ran | None:
    ran = await starter("doctor", "--json")
    return ran if ran.finding("image")["state"] == "broken" else None


async def _timers(world: World) -> int:
    history = await world.image.fetch_history()
    return sum(event.event_type == EventType.EVENT_TYPE_TIMER_STARTED for event in history.events)
