"""SIGKILL at the worst moments, of real processes: all goes on, and nothing is done twice in the record."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from connection.server import connect
from connection.speech import heard_of
from runtime.dev_server import DevServer
from testbed.fake_ollama import FakeOllama
from testbed.forked import Forked
from testbed.processes import kill
from testbed.world import Image, World, until
from tests.approval import assert_changed_once, sending_approval
from tests.killing import Killed


@pytest.fixture
async def killed(client: Client, ollama: FakeOllama, tmp_path: Path) -> Killed:
    world = Killed(client, ollama, tmp_path)
    await world.start()
    return world


async def test_a_worker_killed_between_two_persona_calls_loses_and_repeats_nothing(
    killed: Killed,
) -> None:
    world = killed
    world.ollama.script.labels = ["opposite"]
    with world.process() as process:
        receipt = await world.submit("What happens in between?")
        await world.ollama.until(lambda: len(world.ollama.calls) >= 3, 60)
        kill(process)
    finished = [call for call in world.ollama.calls if call.outcome == "answered"]
    with world.process():
        result = await world.result(receipt)
        assert (result.outcome, result.log.turn_count) == ("max_turns", 2)
        await assert_done_once(world)
    assert len(finished) >= 2


async def assert_done_once(world: Killed) -> None:
    """The one task is on record once, and of its model calls one at the most was made twice."""
    state = await until(lambda: _finished(world))
    assert (state.finished_count, len(state.window), state.failed_count) == (1, 1, 0)
    # That one was under way, or answered and not yet on record.
    asked = [(call.system, call.user) for call in world.ollama.calls]
    assert len(asked) - len(set(asked)) <= 1


async def _finished(world: Image) -> Any:
    state = await world.state()
    return state if state.finished_count else None


async def test_a_worker_killed_in_mid_call_leaves_the_call_to_the_next_one(killed: Killed) -> None:
    world = killed
    world.ollama.ending.clear()
    with world.process() as process:
        receipt = await world.submit("Are you still there?")

        async def brick_speaks() -> bool:
            heard = await heard_of(world.client, receipt.workflow_id)
            return heard is not None and heard.persona == "BRICK"

        await until(brick_speaks)  # a plan that takes its time is heard of before
        kill(process)
    world.ollama.ending.set()
    held = world.ollama.calls[-1]
    with world.process():
        assert (await world.result(receipt)).outcome == "converged"
    asked = [(call.system, call.user) for call in world.ollama.calls]
    assert asked.count((held.system, held.user)) == 2
    # What was heard of the call before it was lost stands in no history.
    history = await world.client.get_workflow_handle(receipt.workflow_id).fetch_history()
    assert "heartbeat_details" not in str(history.events)


async def test_a_worker_killed_while_a_proposal_waits_changes_nothing_about_it(killed: Killed) -> None:
    world = killed
    with world.process() as process:
        view = await world.pending_proposal()
        kill(process)
    sending = await sending_approval(world, view)
    with world.process():
        assert (await sending).state == "approved"
        assert (await world.proposal(view.loop_id, "approved")).digest == view.digest
        await assert_changed_once(world)


async def rewrites(world: Image, loop_id: str) -> list[int]:
    """The event types after the rewrite of settings.toml was scheduled."""
    events = [event async for event in world.loop(loop_id).fetch_history_events()]
    start = next(
        (
            number
            for number, event in enumerate(events)
            if event.activity_task_scheduled_event_attributes.activity_type.name == "rewrite_settings"
        ),
        len(events),
    )
    return [event.event_type for event in events[start:]]


def kill_when_replaced(process: Forked, file: Path, text: str) -> None:
    """Look at the file as fast as can be, and kill its writer the moment it is another one."""
    before = file.stat().st_ino
    while file.stat().st_ino == before:
        pass
    kill(process)
    assert file.read_text() != text


@pytest.mark.timeout(600)
async def test_a_worker_killed_between_the_replace_and_the_end_of_its_activity_changes_the_file_once(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        world = Killed(client, ollama, folder)
        await world.start()
        with world.process() as process:
            view = await world.pending_proposal()
            text = world.file.read_text()
            watching = asyncio.create_task(asyncio.to_thread(kill_when_replaced, process, world.file, text))
            sending = await sending_approval(world, view)
            await watching
        rewritten = world.file.read_bytes()
        completed = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED in await rewrites(world, view.loop_id)
        with world.process():
            assert (await sending).state == "approved"
            await assert_changed_once(world)
        assert world.file.read_bytes() == rewritten
        if not completed:
            return
    pytest.fail("the worker was never caught between the replace and the end of its activity")


async def test_a_server_killed_while_a_proposal_waits_knows_it_again(
    ollama: FakeOllama, tmp_path: Path, mortal_server: DevServer
) -> None:
    server = mortal_server
    async with World(await connect(server.address), ollama, tmp_path) as world:
        view = await world.pending_proposal()
        pid = server.pid
        server.process.kill()

        async def restarted() -> bool:
            return server.pid != pid and await server.is_ready()

        await until(restarted)
        assert (await world.proposal(view.loop_id)).digest == view.digest
        assert (await (await sending_approval(world, view))).state == "approved"
        await assert_changed_once(world)
        assert (await world.ask("And you still think?", task_id="after")).synthesis


async def test_a_task_lives_through_a_killed_worker_and_a_killed_server_at_once(
    ollama: FakeOllama, tmp_path: Path, mortal_server: DevServer
) -> None:
    world = Killed(await connect(mortal_server.address), ollama, tmp_path)
    await world.start()
    with world.process() as process:
        receipt = await world.submit("Will anything be left?")
        await world.ollama.until(lambda: len(world.ollama.calls) >= 2, 60)
        kill(process)
        mortal_server.process.kill()
    # A worker that finds no server ends.
    await until(mortal_server.is_ready)
    with world.process():
        assert (await world.result(receipt)).outcome == "converged"
        await assert_done_once(world)


async def test_a_worker_killed_while_the_personas_look_for_a_goal_leaves_one_goal(killed: Killed) -> None:
    world = killed
    world.edit({"motivator.goals": True, "motivator.idle_after": "200ms", "motivator.goals_per_day": 1})
    with world.process() as process:
        await world.update("reload_settings", None, dict)
        await world.ollama.until(lambda: sum(call.asks == "goals" for call in world.ollama.calls) >= 2, 60)
        kill(process)
    with world.process():
        state = await until(lambda: _finished(world))
        assert [(task.task_id, task.origin) for task in state.finished] == [("goal-1", "motivator")]
        assert len(state.motivation.started) == 1
        assert state.motivation.last.startswith("goal-1")
