"""Whether a change helps, on the command line: seen, ended, asked for, drawn."""

import os
import pty
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from matplotlib.image import imread
from temporalio.client import Client

from messages.image import Amendment
from messages.verification import VERDICTS, VerificationView
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.desk.command_line import Starter
from tests.workflows.verified import looked_at

PINNED = "Tasks run under the old values, although settings.toml has the new ones"


@pytest.fixture
async def world(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[World]:
    """One that verifies what is approved."""
    async with World(client, ollama, tmp_path, {"optimizer.verify_blocks": 20}) as running:
        yield running


async def approved(world: World) -> str:
    """One turn more, approved; whose it is."""
    view = await world.pending_proposal()
    await world.decide(view.loop_id)
    await world.loops_concluded()
    return view.loop_id


async def argued(world: World, blocks: int, third: str) -> None:
    """Tasks of so many blocks: out of two turns they end unrelated, and on another label after a third."""
    tasks = [f"Q{number}?" for number in range(2 * blocks)]
    world.ollama.script.labels = {task: ["unrelated", "unrelated", third] for task in tasks}
    for task in tasks:
        await world.submit(task)
    await world.tasks_finished()
    await looked_at(world)


async def reversal(world: World) -> str:
    """The loop that asks for the way back, once it waits for a person."""

    async def opened() -> str:
        return next(iter((await world.status()).waiting_loops), "")

    loop_id = str(await until(opened))
    await world.proposal(loop_id)
    return loop_id


async def view_of(starter: Starter) -> VerificationView:
    return VerificationView.model_validate((await starter("verification", "--json")).json)


async def test_where_nothing_was_verified_one_sentence_says_so(starter: Starter) -> None:
    shown, as_json, both, end, asked, edit, status = await starter.each(
        ["verification"],
        ["verification", "--json"],
        ["verification", "--accept", "--revert"],
        ["verification", "--accept", "--yes"],
        ["verification", "--revert"],
        ["verify", "3"],
        ["status"],
    )
    assert (shown.code, len(shown.out.splitlines())) == (0, 1)
    assert shown.out.startswith("No change was verified yet")
    assert (as_json.code, as_json.json) == (0, None)
    assert (both.code, end.code, asked.code, edit.code) == (2, 1, 1, 1)
    assert both.sentence.startswith("--accept and --revert exclude each other")
    assert "no change is being verified" in end.sentence
    assert asked.sentence.startswith("No change is being verified")
    assert "no person's edit of revision 3 is in the ledger" in edit.sentence
    assert "verification" not in status.out


async def test_a_change_under_way_shows_its_figures_and_the_looks_to_come(
    world: World, starter: Starter
) -> None:
    loop_id = await approved(world)
    await argued(world, 1, "same")
    status, shown = await starter.each(["status"], ["verification"])
    assert "looks after 5, 10, 15, 20 blocks to come" in status.out
    assert PINNED not in status.out
    for part in (
        "autopoiesis.max_turns: 2 → 3",
        f"{loop_id}, revision 2",
        "none yet",
        "at the latest",
        "1 of 20",
        "too few blocks for a figure",
        "from 10 on it counts as harm",
        "to come",
        "0.00026",
        "Claimed as improved: 0 of 0 verified so far",
        "up to 5% are",
    ):
        assert part in shown.out, part


async def test_harm_is_told_wherever_a_person_looks(world: World, starter: Starter) -> None:
    loop_id = await approved(world)
    await argued(world, 5, "opposite")
    back = await reversal(world)
    view = await view_of(starter)
    assert (view.verdict, view.pinned, view.reversal, view.settled) == ("harmful", True, back, False)

    status, told, shown, listed, refused, as_json = await starter.each(
        ["status"],
        ["verification"],
        ["show"],
        ["proposals"],
        ["verification", "--accept", "--yes"],
        ["status", "--json"],
    )
    for ran in (status, told):
        assert f"{PINNED}: {loop_id} does harm." in ran.out
        assert "autopoiesis.max_turns = 2, and settings.toml has 3" in ran.out
        assert f"python starter.py approve {back}" in ran.out
    assert as_json.json["pinned"] == [{"key": "autopoiesis.max_turns", "old": 2, "new": 3}]
    assert "harmful: it does harm" in told.out
    assert "what was known before" not in told.out
    for ran in (shown, listed):
        assert "a change does harm, and this takes it back" in ran.out
    assert refused.code == 1
    assert f"{back} asks for the way back: approve or reject that" in refused.sentence

    assert (await starter("approve", "--yes", "--by", "Ada")).code == 0
    await world.loops_concluded()
    assert world.on_file().autopoiesis.max_turns == 2
    status, told = await starter.each(["status"], ["verification"])
    assert PINNED not in status.out + told.out
    assert "ended by" in told.out and "Ada" in told.out


async def test_harm_that_nobody_answers_for_stays_pinned_until_a_person_ends_it(
    world: World, starter: Starter
) -> None:
    loop_id = await approved(world)
    world.edit({"governance.approval_timeout": "1s"})
    await starter("reload")
    await argued(world, 5, "opposite")

    async def asked_twice() -> bool:
        state = await world.state()
        return [entry.state for entry in state.ledger.amendments].count("expired") == 2

    await until(asked_twice)
    await world.loops_concluded()
    status, told = await starter.each(["status"], ["verification"])
    assert "nobody answered when it was proposed to go back" in " ".join(status.out.split())
    for ran in (status, told):
        assert f"{PINNED}: {loop_id} does harm." in ran.out
        assert "To go back to the old values: python starter.py verification --revert" in ran.out
        assert "python starter.py verification --accept" in ran.out
    assert (await starter("verification", "--accept", "--yes")).code == 0
    view = await view_of(starter)
    assert (view.verdict, view.pinned, view.settled, view.ended_by) == ("harmful", False, True, "marie")
    result = await world.ask("Q0?")
    assert result.log.active_heuristics["autopoiesis.max_turns"] == 3


async def test_a_change_that_helps_has_its_verdict_in_place_of_bare_means(
    world: World, starter: Starter
) -> None:
    await approved(world)
    assert (await starter("history")).out.count("after:  ") == 1
    await argued(world, 5, "same")
    view = await view_of(starter)
    assert view.verdict in ("improved", "kept_unconfirmed")
    assert (view.verified, view.settled, len(view.looks)) == (1, True, 1)

    status, told, history, amendments = await starter.each(
        ["status"], ["verification"], ["history"], ["amendments"]
    )
    assert "verification" not in status.out
    assert VERDICTS[view.verdict] in told.out
    [entry] = [each for each in (await world.state()).ledger.amendments if each.verified]
    assert f"{entry.verified}".endswith(")")
    for ran in (history, amendments):
        assert str(entry.verified) in ran.out
        assert "before: " not in ran.out and "after:  " not in ran.out


async def test_a_proposal_is_drawn_with_what_was_verified_of_it(
    world: World, starter: Starter, tmp_path: Path
) -> None:
    view = await world.pending_proposal()
    before, after = tmp_path / "before.png", tmp_path / "after.png"
    assert (await starter("show", "--plot", str(before))).code == 0
    await world.decide(view.loop_id)
    await world.loops_concluded()
    await argued(world, 5, "same")
    assert (await starter("show", view.loop_id, "--plot", str(after))).code == 0
    assert imread(after).shape[0] > imread(before).shape[0]


async def test_a_person_lets_the_new_values_stay_after_a_question(world: World, starter: Starter) -> None:
    loop_id = await approved(world)
    nobody = await starter("verification", "--accept")
    assert nobody.code == 2
    assert nobody.err.splitlines()[-1] == (
        "There is no terminal to ask at. Add --yes to accept without being asked"
    )
    for answer, code in (("n", 1), ("y", 0)):
        ours, theirs = pty.openpty()
        process = await starter.begin("verification", "--accept", "--comment", "seen enough", stdin=theirs)
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        ran = await starter.end(process)
        os.close(ours)
        assert ran.code == code, ran
        assert f"Let the new values of {loop_id} stay?" in ran.err
    assert ran.out.strip() == f"The new values of {loop_id} stay, and all tasks run under them."
    view = await view_of(starter)
    assert (view.settled, view.ended_by, view.comment) == (True, "marie", "seen enough")
    assert world.on_file().autopoiesis.max_turns == 3


async def test_a_person_goes_back_to_what_held_before(world: World, starter: Starter) -> None:
    loop_id = await approved(world)
    asked = await starter("verification", "--revert")
    assert asked.code == 2
    assert "autopoiesis.max_turns: 3 → 2" in asked.err
    ran = await starter("verification", "--revert", "--yes", "--by", "Ada", "--json")
    view = VerificationView.model_validate(ran.json)
    assert (view.loop_id, view.verdict, view.ended_by) == (loop_id, "superseded", "Ada")
    assert world.on_file().autopoiesis.max_turns == 2
    entries = [Amendment.model_validate(entry) for entry in (await starter("amendments", "--json")).json]
    assert [(entry.state, entry.decided_by) for entry in entries] == [("approved", "Ada"), ("adopted", "Ada")]


async def test_an_edit_of_ones_own_is_verified_when_asked_for(world: World, starter: Starter) -> None:
    world.edit({"autopoiesis.max_turns": 3})
    await starter("reload")
    ran = await starter("verify")
    assert ran.code == 0
    assert ran.out.startswith(f"Revision 2 of {world.name} is being verified, in at most 20 blocks of two")
    again, other = await starter.each(["verify"], ["verify", "two"])
    assert (again.code, other.code) == (1, 2)
    assert "is being verified, and nothing else is tried" in again.sentence
    assert "a person's edit, revision 2" in (await starter("verification")).out
    await argued(world, 5, "opposite")
    back = await reversal(world)
    view = await view_of(starter)
    assert (view.by_person, view.verdict, view.pinned, view.reversal) == (True, "harmful", False, back)
    assert PINNED not in (await starter("status")).out
