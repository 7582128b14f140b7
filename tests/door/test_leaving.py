"""A door that was told so cancels what nobody waits for any more, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from messages.tasks import TaskView
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.door.conftest import Doorstep, opened
from tests.door.test_streams import SHADE, Stream


@pytest.fixture
async def cancelling(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[Doorstep]:
    """A door with --door-cancels before an image that argues one task at a time; nobody ends a word."""
    ollama.script.says = {"text": SHADE}
    ollama.ending.clear()
    world = World(client, ollama, tmp_path, {"system.max_concurrent_tasks": 1})
    async with world, opened(world, cancels=True) as doorstep:
        yield doorstep
        ollama.ending.set()


async def ended(doorstep: Doorstep, question: str) -> TaskView:
    async def over() -> TaskView | None:
        views = (await doorstep.world.state()).task_views()
        return next((view for view in views if view.task == question and view.phase == "finished"), None)

    view: TaskView = await until(over)
    return view


async def test_a_task_that_nobody_waits_for_is_cancelled_even_if_it_waits_in_the_queue(
    cancelling: Doorstep,
) -> None:
    streams = [Stream(cancelling, "Who goes first?"), Stream(cancelling, "Who goes next?")]
    await streams[0].until("BRICK:", SHADE)
    await streams[1].until("waits in the queue")
    for stream in streams:
        await stream.close()
    for question in ("Who goes first?", "Who goes next?"):
        assert (await ended(cancelling, question)).failure == "Cancelled: somebody cancelled this task"


async def test_a_task_goes_on_while_one_client_is_left_or_comes_back(cancelling: Doorstep) -> None:
    first, second = (Stream(cancelling, "Who stays?") for _ in range(2))
    await first.until("BRICK:", SHADE)
    await second.until("BRICK:", SHADE)
    await first.close()
    await asyncio.sleep(6)  # longer than it waits for a client to come back
    await second.close()
    back = Stream(cancelling, "Who stays?")
    await back.until("BRICK:", SHADE)
    await asyncio.sleep(6)
    cancelling.ollama.ending.set()
    await back.until()
    assert (await ended(cancelling, "Who stays?")).outcome == "converged"


async def test_a_door_that_closes_cancels_nothing(client: Client, ollama: FakeOllama, tmp_path: Path) -> None:
    ollama.script.says = {"text": SHADE}
    ollama.ending.clear()
    async with World(client, ollama, tmp_path) as world:
        async with opened(world, cancels=True) as doorstep:
            left = Stream(doorstep, "Who is left?")
            await left.until("BRICK:", SHADE)
            await left.close()
        await asyncio.sleep(6)
        ollama.ending.set()
        assert (await ended(doorstep, "Who is left?")).outcome == "converged"
