"""Back to an earlier revision: the file, the settings and the ledger agree, and a person ordered it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from activities.settings_rewriting import rewrite
from messages.files import Rewrite
from messages.image import HistoryEntry, ReloadReceipt
from testbed.world import World
from tests.workflows.refusing import refusal
from workflows.orders import files

TURNS, WINDOW = "autopoiesis.max_turns", "cadence.window"


async def edited_twice(world: World) -> None:
    for turns, window in ((3, 100), (4, 90)):
        world.edit({TURNS: turns, WINDOW: window})
        await world.update("reload_settings", None, ReloadReceipt)


async def revert(world: World, revision: int, **more: str) -> ReloadReceipt:
    order = {"revision": revision, "approver": "Ada", **more}
    return await world.update("revert_settings", order, ReloadReceipt)


async def test_a_revert_restores_every_key_and_is_an_amendment_of_its_own(world: World) -> None:
    before, lines = world.on_file(), world.file.read_text().splitlines()
    await edited_twice(world)
    receipt = await revert(world, 1, comment="it was better")
    assert (receipt.revision, receipt.changed, receipt.digest) == (4, True, before.digest())
    assert world.on_file() == before
    assert world.file.read_text().splitlines() == lines
    state = await world.state()
    assert state.settings == before
    entry = state.ledger.amendments[-1]
    assert (entry.source, entry.decided_by, entry.comment) == (
        "revert to revision 1",
        "Ada",
        "it was better",
    )
    assert {change.key: change.new for change in entry.changes} == {TURNS: 2, WINDOW: 100}
    # And the way back is open too.
    await revert(world, 3)
    assert world.on_file().autopoiesis.max_turns == 4


async def test_a_revert_never_overwrites_an_edit_that_the_image_has_not_seen(world: World) -> None:
    await edited_twice(world)
    world.edit({TURNS: 7})
    assert (
        "settings.toml says otherwise by now: autopoiesis.max_turns"
        in (await refusal(revert(world, 1))).message
    )
    assert world.on_file().autopoiesis.max_turns == 7


async def test_a_revert_whose_worker_could_not_say_that_it_was_done_is_still_that_persons(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await edited_twice(world)
    before = await world.state()
    await world.stop_files_worker()
    hasty = replace(files.AT_ONCE, taken_within=timedelta(seconds=1))
    monkeypatch.setattr(files, "AT_ONCE", hasty)
    assert (
        "no files worker has done it in time"
        in (await refusal(revert(world, 1, comment="it was better"))).message
    )
    order = Rewrite(
        loop_id=f"{world.name}/revert/1/3", changes=before.ledger.changes_back_to(1), by_person=True
    )
    rewrite(world.file, order, "the run of an attempt that died")
    monkeypatch.undo()
    await world.start_files_worker()
    assert (await world.update("reload_settings", None, ReloadReceipt)).changed
    entry = (await world.state()).ledger.amendments[-1]
    assert (entry.source, entry.decided_by, entry.comment, entry.state) == (
        "revert to revision 1",
        "Ada",
        "it was better",
        "adopted",
    )


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"revision": 3, "approver": "Ada"}, "revision 3 is not an earlier one"),
        ({"revision": 0, "approver": "Ada"}, "revision 0 is not an earlier one"),
        ({"revision": 1}, "say who decides"),
        (None, "say who decides"),
    ],
)
async def test_a_revert_that_cannot_be_is_refused(world: World, order: object, reason: str) -> None:
    await edited_twice(world)
    assert reason in (await refusal(world.update("revert_settings", order, ReloadReceipt))).message


async def test_history_sets_the_figures_of_before_beside_those_of_after(world: World) -> None:
    await world.ask("Before?")
    world.edit({TURNS: 3})
    await world.update("reload_settings", None, ReloadReceipt)
    await world.ask("After?")
    await world.ask("And after?")
    [entry] = await world.image.query("history", result_type=list[HistoryEntry])
    assert (entry.before.arguments, entry.after.arguments) == (1, 2)
    assert entry.after.dissonance == 0.3
