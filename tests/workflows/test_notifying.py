"""What waits for a person tells them so, again at half of its time; what fails there hurts nothing."""

import json
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.approval import backups_in_the_way, obstructed, sending_approval
from tests.workflows.servers import server_with_movable_clocks

NOTE = "import sys; open('told', 'a').write(sys.argv[-1] + '\\n')"
SLOW = (
    "import pathlib, time; pathlib.Path('telling').touch(); "
    "[time.sleep(0.1) for _ in range(150) if not pathlib.Path('go').exists()]"
)
SECRET = "only-in-the-file"


@pytest.fixture(scope="module")
async def clock() -> AsyncIterator[WorkflowEnvironment]:
    """A dev server whose clocks stand at the real time until a test moves them, workflow by workflow."""
    async with await server_with_movable_clocks() as environment:
        yield environment


@pytest.fixture
async def notified(clock: WorkflowEnvironment, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[World]:
    """A world whose people hear of what waits for them, by a line in the file `told`."""
    world = World(clock.client, ollama, tmp_path, {"governance.approval_timeout": "8d"})
    name_a_way(world, [sys.executable, "-c", NOTE, SECRET])
    async with world:
        yield world


def name_a_way(world: World, words: list[str]) -> None:
    text = world.file.read_text()
    world.file.write_text(text.replace("notify = []", f"notify = {json.dumps(words)}"))


def told(world: World) -> list[str]:
    return world.file.with_name("told").read_text().splitlines()


async def noticed(world: World, loop_id: str, notice: str) -> None:
    """Wait until the loop knows what came of a notice."""

    async def noted() -> bool:
        return (await world.proposal(loop_id)).notice.startswith(notice)

    await until(noted)


async def test_a_person_hears_of_a_proposal_and_again_at_half_of_its_time(
    clock: WorkflowEnvironment, notified: World
) -> None:
    view = await notified.pending_proposal()
    loop = notified.loop(view.loop_id)
    await noticed(notified, view.loop_id, "a person was told by a command")
    (first,) = told(notified)
    assert first.startswith(f"{view.loop_id} waits for you until ")
    assert "autopoiesis.max_turns 2 -> 3" in first
    await clock.fast_forward(loop, timedelta(days=4) - timedelta(hours=1))
    assert told(notified) == [first]
    await clock.fast_forward(loop, timedelta(hours=2))
    await noticed(notified, view.loop_id, "a person was told again by a command")
    _, second = told(notified)
    assert second.startswith(f"{view.loop_id} still waits for you until ")
    await clock.fast_forward(loop, timedelta(days=4))
    await notified.loops_concluded()
    assert (await notified.state()).ledger.amendments[-1].state == "expired"
    assert told(notified) == [first, second]
    told_to_server = [await handle.fetch_history() for handle in (loop, notified.image)]
    assert all(SECRET not in history.to_json() for history in told_to_server)


async def test_whoever_has_decided_hears_no_more(notified: World) -> None:
    view = await notified.pending_proposal()
    await noticed(notified, view.loop_id, "a person was told by a command")
    await notified.decide(view.loop_id)
    await notified.loops_concluded()
    assert (await notified.proposal(view.loop_id, "approved")).notice.startswith(
        "a person was told by a command"
    )
    events = (await notified.loop(view.loop_id).fetch_history()).events
    assert str(events).count("notify_person") == 1


async def test_whoever_decides_while_they_are_told_is_not_told_again(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = World(client, ollama, tmp_path)
    name_a_way(world, [sys.executable, "-c", SLOW])
    async with world:
        view = await world.pending_proposal()

        async def telling() -> bool:
            return (tmp_path / "telling").exists()

        await until(telling)
        with backups_in_the_way(world.file):
            sending = await sending_approval(world, view)
            await obstructed(world, view.loop_id, "is no folder")
            (tmp_path / "go").touch()
            history = await world.loop(view.loop_id).fetch_history()
        assert (await sending).state == "approved"
    timers = [event for event in history.events if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED]
    assert len(timers) == 1  # the proposal's end


async def test_what_fails_is_told_and_hurts_nothing(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = World(client, ollama, tmp_path)
    name_a_way(world, [sys.executable, "-c", "import sys; sys.exit('no bus')"])
    async with world:
        view = await world.pending_proposal()

        async def failed() -> bool:
            notice = (await world.proposal(view.loop_id)).notice
            return notice.startswith("nobody could be told: ") and "ended with code 1 (no bus)" in notice

        await until(failed, 150)
        assert (await world.decide(view.loop_id)).state == "approved"
