"""All kinds of cases, so many of each, and beside them the world in which they are tried."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, chdir, contextmanager
from pathlib import Path

from temporalio.client import Client

from activities.model_server.backend import ModelBackend
from activities.personas import Personas
from testbed.fake_ollama import FakeOllama
from testbed.hostile import (
    Case,
    Tried,
    commands,
    drawn,
    handlers,
    replies,
    snapshots,
    texts,
    together,
    try_each,
    try_each_of,
)
from testbed.signing import Signer, govern
from testbed.world import World, exists, until
from workflows.dialogue import Dialogue

AT_ONCE = 6
"""A workflow takes ten updates at a time."""


def of_files(folder: Path, count: int) -> list[Tried]:
    """So many settings.toml and prompts.toml."""
    with quiet():
        return [
            try_each(
                "settings.toml",
                drawn(texts.settings_files, count),
                lambda text: texts.try_settings(folder, text),
            ),
            try_each(
                "prompts.toml",
                drawn(texts.prompts_files, count),
                lambda text: texts.try_prompts(folder, text),
            ),
        ]


def of_snapshots(folder: Path, count: int) -> Tried:
    with chdir(folder):
        cases = drawn(snapshots.snapshots, count)
        return try_each("snapshots", cases, lambda data: snapshots.try_snapshot(folder, data))


async def of_replies(ollama: FakeOllama, world: World, count: int) -> Tried:
    """So many answers to the personas of a worker."""
    personas = Personas(ModelBackend())
    with quiet():
        asked = replies.Asked(personas, ollama, world.on_file())
        try:
            return await try_each_of("model replies", drawn(replies.cases, count), asked.answer)
        finally:
            await personas.close()


async def of_tasks(world: World, count: int) -> Tried:
    """So many whole tasks whose models say anything."""
    with quiet():
        return await try_each_of(
            "tasks with such models",
            drawn(replies.silly_models, count),
            lambda says: replies.argue(world, says),
        )


async def of_handlers(to: handlers.Addressees, count: int) -> Tried:
    with quiet():
        tried = await _parts("handlers", drawn(handlers.sent, count), to.hear)
        await to.live_on()
        return tried


async def of_starts(to: handlers.Addressees, count: int) -> Tried:
    with quiet():
        return await _parts("starts of workflows", drawn(handlers.starts, count), to.begin)


async def of_commands(world: World, count: int) -> Tried:
    typing = commands.Typing(world.file.parent, world.address)
    return await _parts("command lines", drawn(commands.command_lines(), count), typing.type)


@asynccontextmanager
async def addressees(client: Client, ollama: FakeOllama, folder: Path) -> AsyncIterator[handlers.Addressees]:
    """An image, a dialogue that is held and a proposal that only a signature decides."""
    world = World(client, ollama, folder, {"motivator.goals": False})
    govern(world, 1, Signer("Ada"))
    async with world:
        view = await world.pending_proposal()
        ollama.answering.clear()
        receipt = await world.submit("Hold on")
        dialogue = client.get_workflow_handle_for(Dialogue.run, receipt.workflow_id)
        await until(lambda: exists(dialogue))
        yield handlers.Addressees(
            world, {"PhilosophicalLoop": world.loop(view.loop_id), "Dialogue": dialogue}
        )
        ollama.answering.set()


async def _parts(kind: str, cases: Sequence[Case], attempt: Callable[[Case], Awaitable[object]]) -> Tried:
    """Several at once."""
    parts = [cases[start::AT_ONCE] for start in range(min(AT_ONCE, len(cases)))]
    return together(await asyncio.gather(*(try_each_of(kind, part, attempt) for part in parts)))


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that each case is worth."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
