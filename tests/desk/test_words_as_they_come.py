"""Words are shown before they are complete, come from heartbeats alone, and stand in no history."""

import json
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from connection.speech import heard_of
from messages.calls import Heard
from messages.names import task_workflow_id
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.desk.command_line import Starter
from tests.desk.screen import Screen
from tests.killing import Killed

ANSWERS = {"text": "Trees give shade for sixty years."}


@pytest.fixture
async def halting(world: World) -> AsyncIterator[World]:
    """A world whose model never comes to the end of what it says."""
    world.ollama.script.says = ANSWERS  # type: ignore[assignment]
    world.ollama.ending.clear()
    yield world
    world.ollama.ending.set()


async def heard(world: World | Killed, task_id: str) -> Heard:
    """What is heard of a task once anything is."""
    workflow_id = task_workflow_id(world.name, task_id)

    async def said() -> Heard | None:
        told = await heard_of(world.client, workflow_id)
        return told if told and told.said else None

    found: Heard = await until(said)
    return found


async def test_a_task_of_somebody_else_is_followed_word_by_word(halting: World, starter: Starter) -> None:
    await halting.submit("Trees or roofs?", task_id="theirs")
    async with Screen(starter, "ask", "--task-id", "theirs", "--follow") as screen:
        shown = await screen.until("Turn 1: BRICK's thesis", "Trees give shade for sixty years.")
        assert shown.index("ALFRED") < shown.index("Turn 1: BRICK's thesis")
        halting.ollama.ending.set()
        shown = await screen.until("Synthesis")
        assert await screen.ended() == 0
    # What came word by word gave way to what is complete: thesis, antithesis and synthesis.
    assert screen.shows.count("Trees give shade for sixty years.") == 3
    assert shown.index("BRICK") < shown.index("ROBIN") < shown.index("dissonance") < shown.index("Synthesis")


async def test_a_narrow_terminal_without_colours_shows_the_last_words(
    halting: World, starter: Starter
) -> None:
    halting.ollama.script.says = {"text": "A B C D E F G " * 100 + "and the last."}
    starter.environment = {"NO_COLOR": "1"}
    async with Screen(starter, "ask", "Trees?", "--follow", columns=24, lines=8) as screen:
        await screen.until("the last.")
        assert b"\x1b[3" not in screen.sent  # no colour


async def test_what_is_being_said_is_heard_without_its_thinking_and_bounded(halting: World) -> None:
    halting.ollama.script.habits.thinks = "tags"
    halting.ollama.script.says = {"text": ("w" * 99 + " ") * 50 + "the end"}
    await halting.submit("Trees or roofs?", task_id="long")
    told = await heard(halting, "long")
    assert (told.persona, told.state) == ("BRICK", "generating")
    told = await until(lambda: _to_the_end(halting))
    assert (len(told.said), told.before) == (2_000, 5_007 - 2_000)
    assert "SECRET" not in told.said


async def _to_the_end(world: World) -> Heard | None:
    told = await heard(world, "long")
    return told if told.said.endswith("the end") else None


async def test_no_words_stand_in_a_history_before_they_are_complete(
    client: Client, ollama: FakeOllama, starter: Starter, world: World
) -> None:
    world.ollama.script.says = {"text": "Half of this was heard."}
    world.ollama.ending.clear()
    receipt = await world.submit("Trees or roofs?", task_id="held")
    await heard(world, "held")
    history = await client.get_workflow_handle(receipt.workflow_id).fetch_history()
    assert "Half of this" not in json.dumps(history.to_json_dict())
    world.ollama.ending.set()
    await world.result(receipt)
    assert await heard_of(client, receipt.workflow_id) is None
