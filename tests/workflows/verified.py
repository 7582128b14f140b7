"""An image whose approved changes are verified, and tasks that end as their number of turns has it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from temporalio.client import Client

from configuration import Value
from messages.loops import LoopConcluded
from messages.verification import VerificationView
from testbed.fake_ollama import FakeOllama, Script
from testbed.world import Image, World, until
from workflows.living_image import LivingImage

TURNS = "autopoiesis.max_turns"
# At two turns an argument ends with the second label, at three with the third.
HARM = {"a": ["opposite", "unrelated", "opposite"]}
HELP = {"a": ["opposite", "opposite", "same"]}
NOTHING = {"a": ["opposite", "opposite", "unrelated"], "b": ["opposite", "unrelated", "opposite"]}
SETTINGS: dict[str, Value] = {"optimizer.verify_blocks": 10}


def script(kinds: dict[str, list[str]], tasks: int = 60) -> Script:
    """Each task says of which kind it is, and has labels of its own: `Task 7 of kind b`."""
    names = list(kinds)
    labels = {task(number, names): kinds[names[number % len(names)]] for number in range(tasks)}
    return Script(labels=labels)


def task(number: int, kinds: Sequence[str]) -> str:
    return f"Task {number} of kind {kinds[number % len(kinds)]}."


@asynccontextmanager
async def approved(
    client: Client, ollama: FakeOllama, folder: Path, settings: dict[str, Value] | None = None
) -> AsyncIterator[tuple[World, LoopConcluded]]:
    """An image in which a third turn was approved, and is being verified."""
    async with World(client, ollama, folder, {**SETTINGS, **(settings or {})}) as world:
        view = await world.pending_proposal()
        conclusion = await world.decide(view.loop_id)
        await world.loops_concluded()
        yield world, conclusion


async def at_once(*sent: Awaitable[Any]) -> list[Any]:
    """As many as the server takes: ten updates of a workflow may be under way."""
    free = asyncio.Semaphore(6)

    async def one(each: Awaitable[Any]) -> Any:
        async with free:
            return await each

    return await asyncio.gather(*map(one, sent))


async def ask(world: Image, kinds: dict[str, list[str]], first: int, count: int) -> None:
    """Let the image argue tasks out, as many at once as it may, and wait for all of them."""
    names = list(kinds)
    numbers = range(first, first + count)
    await at_once(*(world.submit(task(n, names), task_id=f"t{n}") for n in numbers))
    await world.tasks_finished()


async def verification(world: Image) -> VerificationView:
    view = await world.image.query(LivingImage.verification)
    assert view is not None
    return view


async def verdict_of(world: Image, kinds: dict[str, list[str]], most: int = 24) -> VerificationView:
    """Argue tasks out until there is a verdict."""
    first = 0
    while (await verification(world)).verdict is None and first < most:
        await ask(world, kinds, first, 2)
        await looked_at(world)
        first += 2
    return await verification(world)


async def looked_at(world: Image) -> VerificationView:
    """How it stands once what was due to be looked at was looked at."""

    async def looked() -> VerificationView | None:
        view = await verification(world)
        return view if view.verdict or view.looks_to_come[0] > view.blocks else None

    view: VerificationView = await until(looked)
    return view


async def reversal(world: Image) -> str:
    """The loop that asks for the way back, once there is one."""

    async def asked() -> str:
        return (await verification(world)).reversal

    loop_id: str = await until(asked)
    return loop_id
