"""SIGKILL in each step of trying: all goes on, and no replay is on record twice."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from configuration import Value
from connection.server import connect
from messages.loops import ProposalView
from runtime.dev_server import DevServer
from testbed.fake_ollama import Asks, FakeOllama, Script
from testbed.processes import kill
from testbed.world import until
from tests.killing import Killed
from workflows.philosophical_loop import PhilosophicalLoop

pytestmark = pytest.mark.timeout(600)
TRYING: dict[str, Value] = {"optimizer.trial_tasks": 2, "optimizer.creator": "", "optimizer.judge": ""}
WARMER_IS_BETTER = {"0.4": "opposite", "0.5": "opposite", "0.6": "unrelated", "0.7": "same", "0.8": "same"}
WARMER = {"changes": [{"key": "temperatures.robin", "value": 0.8}], "reason": "It may say more."}


async def argued(client: Client, ollama: FakeOllama, folder: Path) -> Killed:
    """An image with four arguments behind it, whose worker has ended."""
    ollama.script = Script(labels_at=WARMER_IS_BETTER, candidates=[WARMER])
    world = Killed(client, ollama, folder, {**TRYING, "cadence.min_logs": 9})
    await world.start()
    with world.process():
        await asyncio.gather(*(world.ask(f"Question {number}?") for number in range(4)))
    return world


async def decidable(world: Killed, loop_id: str) -> ProposalView:
    async def thought() -> ProposalView | None:
        view = await world.loop(loop_id).query(PhilosophicalLoop.proposal)
        return None if view.state in ("analysing", "trying") else view

    view: ProposalView = await until(thought, 150)
    return view


async def assert_tried_once(world: Killed, view: ProposalView) -> None:
    """Each replay is one child of the loop and one entry of its record; the image has argued nothing more."""
    rounds = enumerate(view.rounds)
    replayed = Counter((one.task_id, number, one.arm) for number, tried in rounds for one in tried.argued)
    assert replayed and set(replayed.values()) == {1}
    events = [event async for event in world.loop(view.loop_id).fetch_history_events()]
    kinds = Counter(event.event_type for event in events)
    assert kinds[EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED] == len(replayed)
    state = await world.state()
    assert (state.finished_count, len(state.window)) == (4, 4)


def trial_call(ollama: FakeOllama, asks: Asks, past: int) -> bool:
    return sum(call.asks == asks for call in ollama.calls) > past


@pytest.mark.parametrize("asks", ["candidates", "compare"])
async def test_a_worker_killed_in_a_step_of_trying_leaves_the_rest_to_the_next_one(
    client: Client, ollama: FakeOllama, tmp_path: Path, asks: Asks
) -> None:
    world = await argued(client, ollama, tmp_path)
    past = sum(call.asks == asks for call in ollama.calls)
    with world.process() as process:
        loop_id = await world.reflect()
        await ollama.until(lambda: trial_call(ollama, asks, past), 120)
        kill(process)
    with world.process():
        view = await decidable(world, loop_id)
        assert view.state == "pending", view.reason
        await assert_tried_once(world, view)


async def test_trials_live_through_a_killed_server(
    ollama: FakeOllama, tmp_path: Path, mortal_server: DevServer
) -> None:
    world = await argued(await connect(mortal_server.address), ollama, tmp_path)
    past = sum(call.asks == "plan" for call in ollama.calls)
    with world.process() as process:
        loop_id = await world.reflect()
        await ollama.until(lambda: trial_call(ollama, "plan", past + 2), 120)
        kill(process)
        mortal_server.process.kill()
    await until(mortal_server.is_ready)
    with world.process():
        view = await decidable(world, loop_id)
        assert view.state == "pending", view.reason
        await assert_tried_once(world, view)
