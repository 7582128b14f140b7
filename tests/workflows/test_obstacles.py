"""What is in the way of an approved rewrite is told and waited out; an approval is never used up by it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from activities.settings_rewriting import rewrite
from messages.files import Rewrite
from messages.image import ImageStatus
from messages.loops import LoopConcluded
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.approval import assert_changed_once, backups_in_the_way, obstructed, sending_approval
from tests.locking import locked
from workflows.details.loop import loop_details


@contextmanager
def file_gone(file: Path) -> Iterator[None]:
    elsewhere = file.rename(file.with_name("elsewhere.toml"))
    yield
    elsewhere.rename(file)


@contextmanager
def file_broken(file: Path) -> Iterator[None]:
    sound = file.read_text()
    broken = sound.replace("max_turns = 2", "max_turns = two")
    file.write_text(broken)
    yield
    assert file.read_text() == broken
    # At once: whoever reads it while it is written would see another file.
    whole = file.with_name("sound.toml")
    whole.write_text(sound)
    whole.replace(file)


def folder_locked(file: Path) -> AbstractContextManager[None]:
    return locked(file.parent)


async def told_by_the_image(world: World, loop_id: str, obstacle: str) -> ImageStatus:
    async def heard() -> ImageStatus | None:
        status = await world.status()
        return status if status.obstacles.get(loop_id, "") == obstacle else None

    status: ImageStatus = await until(heard)
    return status


async def in_the_inbox(world: World, loop_id: str) -> bool:
    described = await world.loop(loop_id).describe()
    return described.search_attributes["NeedsHuman"] == [True]


async def events(world: World, loop_id: str) -> Counter[EventType.ValueType]:
    return Counter([event.event_type async for event in world.loop(loop_id).fetch_history_events()])


@pytest.mark.parametrize(
    ("in_the_way", "told"),
    [
        (file_gone, "settings.toml cannot be read (No such file or directory); put the file there"),
        (file_broken, "put it right, for nothing is written into it before"),
        (backups_in_the_way, "settings.backups is no folder; move it out of the way"),
        (folder_locked, "settings.toml cannot be rewritten: another process is at work in "),
    ],
)
async def test_an_obstacle_is_told_everywhere_and_the_rewrite_goes_on_when_it_is_gone(
    world: World, in_the_way: Callable[[Path], Any], told: str
) -> None:
    proposed = await world.pending_proposal()
    with in_the_way(world.file):
        sending = await sending_approval(world, proposed)
        view = await obstructed(world, proposed.loop_id, told)
        assert (view.state, view.decided_by, view.reason) == ("rewriting", "Ada", "")
        status = await told_by_the_image(world, proposed.loop_id, view.obstacle)
        assert status.waiting_loops == [proposed.loop_id]
        assert "Nothing has to be decided again" in loop_details(view)
        assert await in_the_inbox(world, proposed.loop_id)
        assert not sending.done()
    assert (await sending).state == "approved"
    assert not await in_the_inbox(world, proposed.loop_id)
    await assert_changed_once(world)
    assert (await world.status()).obstacles == {}
    assert (await world.proposal(proposed.loop_id, "approved")).obstacle == ""


async def test_without_a_files_worker_the_approval_waits_for_one(world: World) -> None:
    view = await world.pending_proposal()
    await world.stop_files_worker()
    sending = await sending_approval(world, view)
    await obstructed(world, view.loop_id, "no files worker has done it in time; run `python worker.py`")
    await world.start_files_worker()
    assert (await sending).state == "approved"
    await assert_changed_once(world)


async def test_the_first_word_of_a_worker_that_comes_is_told(world: World) -> None:
    view = await world.pending_proposal()
    await world.stop_files_worker()
    sending = await sending_approval(world, view)
    await obstructed(world, view.loop_id, "no files worker")
    with file_gone(world.file):
        await world.start_files_worker()
        await obstructed(world, view.loop_id, "cannot be read (No such file or directory)")
    assert (await sending).state == "approved"


async def test_the_deadline_of_the_proposal_ends_the_wait_with_the_reason(world: World) -> None:
    world.edit({"governance.approval_timeout": "15s"})
    await world.update("reload_settings", None, dict)
    view = await world.pending_proposal()
    with backups_in_the_way(world.file):
        concluded = await (await sending_approval(world, view))
    assert concluded.state == "failed"
    assert not await in_the_inbox(world, view.loop_id)
    assert concluded.reason.startswith("approved, and not carried out before it expired: ")
    assert "settings.backups is no folder" in concluded.reason
    assert view.expires_at is not None
    assert concluded.decided_at >= view.expires_at

    await world.loops_concluded()
    entry = (await world.state()).ledger.amendments[-1]
    assert (entry.state, entry.decided_by, entry.reason) == ("failed", "Ada", concluded.reason)
    assert world.on_file().autopoiesis.max_turns == 2


async def test_waiting_takes_few_events_and_no_timer(world: World) -> None:
    view = await world.pending_proposal()
    with backups_in_the_way(world.file):
        sending = await sending_approval(world, view)
        await obstructed(world, view.loop_id, "is no folder")
        before = await events(world, view.loop_id)
        await asyncio.sleep(20)
        counted = await events(world, view.loop_id)
        grown = counted - before
        # The server retries by itself: only what a round begins and ends with is in the history. Two may have
        # begun before: a round, and the notice that something is in the way.
        assert grown.total() <= 6 * (grown[EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED] + 2)
        assert grown[EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED] <= 4
        assert not grown[EventType.EVENT_TYPE_TIMER_STARTED]
        assert counted[EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED] == 1
    assert (await sending).state == "approved"


async def test_a_retiring_image_does_not_wait_for_an_obstacle(world: World) -> None:
    view = await world.pending_proposal()
    with backups_in_the_way(world.file):
        sending = await sending_approval(world, view)
        await obstructed(world, view.loop_id, "is no folder")
        await world.update("retire", None, ImageStatus)
        assert (await world.image.result()).phase == "retired"
    assert (await sending).state == "failed"
    assert world.on_file().autopoiesis.max_turns == 2


async def test_a_proposal_waits_for_a_file_that_is_away_before_there_is_anything_to_decide(
    world: World,
) -> None:
    with file_gone(world.file):
        await world.record_reasons()  # after the last of them the image may reflect by itself
        loop_id = await world.reflect()
        view = await obstructed(world, loop_id, "cannot be read (No such file or directory)")
        assert view.state == "analysing"
        await told_by_the_image(world, loop_id, view.obstacle)
        assert await in_the_inbox(world, loop_id)
    view = await world.proposal(loop_id)
    assert (view.obstacle, "-max_turns = 2\n+max_turns = 3" in view.diff) == ("", True)
    await told_by_the_image(world, loop_id, "")


async def test_news_of_obstacles_that_nobody_can_read_are_set_aside(world: World) -> None:
    await world.image.signal("loop_waits", "nonsense")
    await world.image.signal("loop_waits", {"loop_id": "unknown", "obstacle": "x" * 10_000})

    async def put_aside() -> bool:
        return bool((await world.status()).set_aside)

    await until(put_aside)
    assert (await world.status()).obstacles == {}


# --- what was changed is on record as approved ---


async def test_a_rewrite_that_is_done_is_approved_though_the_file_was_broken_since(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with World(client, ollama, tmp_path) as world:

        async def broken() -> None:
            world.file.write_text("this is no settings file\n")

        concluded = await _carried_out_unheard(world, broken)
        assert concluded.state == "approved"

        await world.loops_concluded()
        world.file.write_text(next((tmp_path / "settings.backups").iterdir()).read_text())
        world.edit({"autopoiesis.max_turns": 3, "models.temperature": 0.9})
        await world.update("reload_settings", None, dict)
        approved, edited = (await world.state()).ledger.amendments
        assert (approved.state, approved.decided_by, approved.revision) == ("approved", "Ada", 2)
        assert [change.key for change in approved.changes] == ["autopoiesis.max_turns"]
        assert (edited.state, edited.revision) == ("adopted", 3)
        assert [change.key for change in edited.changes] == ["models.temperature"]


async def _carried_out_unheard(world: World, then: Callable[[], Awaitable[None]]) -> LoopConcluded:
    """Approve, and carry it out by hand while no worker is there, as an attempt that could not say so."""
    view = await world.pending_proposal()
    await world.stop_files_worker()
    sending = await sending_approval(world, view)
    await obstructed(world, view.loop_id, "no files worker")
    run_id = (await world.loop(view.loop_id).describe()).run_id
    rewrite(world.file, Rewrite(loop_id=view.loop_id, changes=view.changes), run_id)
    await then()
    await world.start_files_worker()
    return await sending


async def test_a_rewrite_that_is_done_after_its_loop_gave_up_is_that_loops(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    soon = {"governance.approval_timeout": "25s"}
    async with World(client, ollama, tmp_path, soon) as world:

        async def given_up() -> None:
            await world.loops_concluded(90)

        concluded = await _carried_out_unheard(world, given_up)
        assert concluded.state == "failed"
        await world.update("reload_settings", None, dict)
        (entry,) = (await world.state()).ledger.amendments
        assert (entry.state, entry.decided_by, entry.revision) == ("approved", "Ada", 2)
