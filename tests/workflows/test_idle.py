"""Time passes, simulated on a real server: an idle image wakes for nothing, and deadlines come when due."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from messages.image import ImageStatus
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.workflows.servers import server_with_movable_clocks

# What the server notes when a test moves the clock; a clock that nobody moves leaves nothing.
CLOCK_MOVED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED,
}
IDLE_AFTER = timedelta(seconds=61)
CHECK_EVERY, APPROVAL_TIMEOUT = timedelta(minutes=15), timedelta(days=7)


@pytest.fixture(scope="module")
async def clock() -> AsyncIterator[WorkflowEnvironment]:
    """A dev server whose clocks stand at the real time until a test moves them, workflow by workflow."""
    async with await server_with_movable_clocks() as environment:
        yield environment


@pytest.fixture
async def world(clock: WorkflowEnvironment, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[World]:
    settings = {"cadence.check_every": "15m", "governance.approval_timeout": "7d"}
    async with World(clock.client, ollama, tmp_path, settings) as running:
        yield running


async def events(handle: WorkflowHandle[Any, Any]) -> list[HistoryEvent]:
    return [event async for event in handle.fetch_history_events() if event.event_type not in CLOCK_MOVED]


async def settled(world: World, children: int = 0) -> list[HistoryEvent]:
    """The image's events once it is at rest."""
    await world.at_rest(children)
    return await events(world.image)


def pending_timers(history: list[HistoryEvent]) -> set[str]:
    started = {event.timer_started_event_attributes.timer_id for event in history} - {""}
    fired = {event.timer_fired_event_attributes.timer_id for event in history}
    cancelled = {event.timer_canceled_event_attributes.timer_id for event in history}
    return started - fired - cancelled


async def loops_begun(world: World) -> int:
    return (await world.state()).next_loop - 1


async def saved(world: World) -> None:
    """Wait until the image has saved itself since it was last active."""

    async def nothing_to_save() -> bool:
        return (await world.state()).next_save() is None and bool((await world.status()).saved_at)

    await until(nothing_to_save)


async def asleep(clock: WorkflowEnvironment, world: World) -> list[HistoryEvent]:
    """The image's events once it was idle for so long that it has saved itself."""
    assert len(pending_timers(await settled(world))) == 1
    await clock.fast_forward(world.image, IDLE_AFTER)
    await saved(world)
    return await settled(world)


async def test_an_image_with_nothing_to_do_saves_itself_and_an_idle_month_adds_no_event_after_that(
    clock: WorkflowEnvironment, world: World
) -> None:
    for number in range(3):
        await world.ask(f"Question {number}?")
    before = await asleep(clock, world)
    assert pending_timers(before) == set()
    assert await clock.fast_forward(world.image, timedelta(days=30))
    assert await settled(world) == before
    assert (await world.ask("Still there?")).synthesis
    assert (await world.status()).finished == 4


async def test_tasks_in_turn_start_one_timer_between_them(world: World) -> None:
    for number in range(4):
        await world.ask(f"Question {number}?")
        await settled(world)
    started = [event for event in await settled(world) if event.HasField("timer_started_event_attributes")]
    assert len(started) == 1


async def test_an_image_in_which_nothing_has_happened_has_nothing_to_save_and_waits_for_nothing(
    clock: WorkflowEnvironment, world: World
) -> None:
    before = await settled(world)
    assert pending_timers(before) == set()
    assert await clock.fast_forward(world.image, timedelta(days=30))
    assert await settled(world) == before


async def test_an_image_that_has_looked_at_its_logs_is_idle_again(
    clock: WorkflowEnvironment, world: World
) -> None:
    waiting = await world.pending_proposal()
    await world.decide(waiting.loop_id, "reject")
    before = await asleep(clock, world)
    assert pending_timers(before) == set()
    assert await clock.fast_forward(world.image, timedelta(days=30))
    assert await settled(world) == before


async def test_while_a_proposal_waits_its_deadline_is_the_only_timer(world: World) -> None:
    # The server moves the clock of no image whose children run, so this one saves itself soon.
    world.edit({"motivator.idle_after": "200ms"})
    await world.update("reload_settings", None, dict)
    waiting = await world.pending_proposal()
    await saved(world)
    assert pending_timers(await settled(world, children=1)) == set()
    assert len(pending_timers(await events(world.loop(waiting.loop_id)))) == 1


async def test_a_proposal_that_nobody_decides_expires_and_is_on_the_ledger_with_its_logs_used_up(
    clock: WorkflowEnvironment, world: World
) -> None:
    waiting = await world.pending_proposal()
    loop = world.loop(waiting.loop_id)
    assert len((await world.state()).window) == 8
    assert await clock.fast_forward(loop, APPROVAL_TIMEOUT - timedelta(hours=1))
    assert (await world.proposal(waiting.loop_id)).state == "pending"
    await clock.fast_forward(loop, timedelta(hours=2))
    concluded = await loop.result()
    assert (concluded.state, concluded.decided_by) == ("expired", "")

    await world.loops_concluded()
    state = await world.state()
    (entry,) = state.ledger.amendments
    assert (entry.state, entry.loop_id, entry.revision) == ("expired", waiting.loop_id, 1)
    assert "nobody decided within 7 days" in entry.reason
    assert state.window == []
    assert world.on_file() == state.settings


async def test_the_next_look_at_the_logs_comes_after_check_every_and_not_before(
    clock: WorkflowEnvironment, world: World
) -> None:
    first = await world.pending_proposal()
    await world.decide(first.loop_id, "reject")
    await settled(world)
    await world.record_logs(8)

    async def status_with_alarm() -> ImageStatus | None:
        status = await world.status()
        return status if status.next_look_at else None

    assert (await until(status_with_alarm)).waiting_loops == []
    assert len(pending_timers(await settled(world))) == 1
    assert await clock.fast_forward(world.image, CHECK_EVERY - timedelta(minutes=1))
    assert await loops_begun(world) == 1
    # The clock stops where the loop begins: the server moves none whose children run.
    moving = asyncio.create_task(clock.fast_forward(world.image, timedelta(minutes=2)))

    async def looked() -> bool:
        return await loops_begun(world) == 2

    await until(looked)
    moving.cancel()
    # How it goes on is not asked here: the loop inherits a clock that may have been moved past its deadline.
