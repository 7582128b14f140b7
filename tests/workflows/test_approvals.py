"""Where [governance] names approvers, only what they have signed decides, and what did not count is shown."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from messages.loops import Change, LoopConcluded, LoopStart, Proposal, ProposalView
from messages.trials import Replay, Round
from runtime.workers import WORKFLOWS
from testbed.fake_ollama import FakeOllama
from testbed.signing import Signer, governed
from testbed.world import OTHER, World, until
from tests.workflows.refusing import refusal
from tests.workflows.replayed import deeds_of, replay, unsaid
from workflows.approvals import KEPT, MOST_RECORDED
from workflows.philosophical_loop import PhilosophicalLoop, digest_of

ADA, BOB, STRANGER = Signer("Ada"), Signer("Bob"), Signer("Mallory")
OWN = {"autopoiesis.max_turns": 5}


@pytest.fixture
async def image(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[World]:
    """Ada and Bob decide, and each is enough."""
    async with governed(client, ollama, tmp_path, 1, ADA, BOB) as world:
        yield world


@pytest.fixture
async def pair(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[World]:
    """Ada and Bob decide together."""
    async with governed(client, ollama, tmp_path, 2, ADA, BOB) as world:
        yield world


async def send(world: World, view: ProposalView, decision: dict[str, Any]) -> Any:
    return await world.loop(view.loop_id).execute_update("decide", decision)


async def refused(world: World, view: ProposalView, decision: dict[str, Any]) -> str:
    """Why a decision is refused, which the view tells too; the proposal waits on."""
    reason = (await refusal(send(world, view, decision))).message
    after = await world.loop(view.loop_id).query(PhilosophicalLoop.proposal)
    assert after.signatures.unheeded[-1].reason == reason
    assert (after.state, after.signatures.signed) == ("pending", [])
    assert world.on_file().autopoiesis.max_turns == 2
    return reason


async def page(world: World, view: ProposalView) -> str:
    """The loop's page in the Web UI."""
    metadata = await world.loop(view.loop_id).query("__temporal_workflow_metadata")
    return str(metadata.current_details)


async def amended(world: World) -> tuple[str, str]:
    await world.loops_concluded()
    entry = (await world.state()).ledger.amendments[-1]
    return entry.state, entry.decided_by


async def test_a_signed_approval_is_carried_out_in_the_name_of_the_key(image: World) -> None:
    view = await image.pending_proposal()
    assert len(view.digest) == 64
    assert view.signatures.approvers == [ADA.line, BOB.line]
    concluded = LoopConcluded.model_validate(await send(image, view, ADA.decision(view)))
    assert (concluded.state, concluded.decided_by) == ("approved", "Ada")
    assert image.on_file().autopoiesis.max_turns == 3
    assert await amended(image) == ("approved", "Ada")


async def test_signed_values_of_ones_own_are_carried_out(image: World) -> None:
    view = await image.pending_proposal()
    await send(image, view, BOB.decision(view, changes=OWN))
    assert image.on_file().autopoiesis.max_turns == 5


async def test_a_signed_signal_counts_and_a_bare_one_is_shown(image: World) -> None:
    view = await image.pending_proposal()
    loop = image.loop(view.loop_id)
    for bare in ("approve", "reject"):
        await loop.signal(bare, "Ada")
    after = await loop.query(PhilosophicalLoop.proposal)
    assert [each.verdict for each in after.signatures.unheeded] == ["approve", "reject"]
    assert after.signatures.unheeded[0].approver == "Ada"
    assert "only a signature of these counts: Ada, Bob" in after.signatures.unheeded[0].reason
    assert after.state == "pending"
    shown = await page(image, view)
    assert "Did not count" in shown
    assert "Only a signed decision counts" in shown
    await loop.signal("approve", {"signature": BOB.decision(view)["signature"]})
    assert await amended(image) == ("approved", "Bob")


async def test_an_early_decision_has_nothing_to_sign_yet(image: World) -> None:
    await image.stop_files_worker()
    await image.record_reasons()
    loop = image.loop(await image.reflect())
    await loop.signal("approve", "Ada")
    await image.start_files_worker()
    view = await image.proposal(loop.id)
    assert "has nothing to decide: analysing" in view.signatures.unheeded[0].reason


async def test_what_is_unsigned_a_strangers_expired_or_changed_does_not_count(image: World) -> None:
    view = await image.pending_proposal()
    good = ADA.decision(view, changes=OWN)
    unsigned = {"verdict": "approve", "approver": "Ada", "proposal_digest": view.digest}
    assert "it is not signed" in await refused(image, view, unsigned)
    assert "the key of a stranger, Mallory" in await refused(image, view, STRANGER.decision(view))
    late = ADA.decision(view, valid=timedelta(seconds=-1))
    assert "the signature of Ada has expired" in await refused(image, view, late)
    later = {**good["signature"], "expires_at": "2999-01-01T00:00:00+00:00"}
    borrowed = {**good["signature"], "key": BOB.line}
    other = "is not over this"
    for tampered in (
        {**good, "changes": {"autopoiesis.max_turns": 6}},
        {**good, "changes": {}},
        {**good, "verdict": "reject", "changes": {}},
        {**good, "signature": later},
        {**good, "signature": borrowed},
        {**good, "signature": {**good["signature"], "signature": "AAAA"}},
        ADA.decision(view, signed_as={"image": "another"}),
        ADA.decision(view, signed_as={"proposal": "0" * 64}),
    ):
        assert other in await refused(image, view, tampered)
    unreadable = {**good, "signature": {**good["signature"], "signature": "no base64"}}
    assert "cannot be read" in await refused(image, view, unreadable)
    anothers = {**good, "proposal_digest": "0" * 64}
    assert "is not this proposal's" in await refused(image, view, anothers)
    kept = (await image.loop(view.loop_id).query(PhilosophicalLoop.proposal)).signatures.unheeded
    assert len(kept) == KEPT
    assert (await send(image, view, good))["state"] == "approved"


async def test_a_signature_of_another_loop_does_not_count(image: World) -> None:
    first = await image.pending_proposal()
    approval = ADA.decision(first)
    await send(image, first, ADA.decision(first, "reject"))
    await image.loops_concluded()
    second = await image.pending_proposal(OTHER)
    assert "is not this proposal's" in await refused(image, second, approval)
    replayed = {**approval, "proposal_digest": second.digest}
    assert "is not over this" in await refused(image, second, replayed)


async def test_two_of_two_sign_the_same_and_one_key_twice_is_one(pair: World) -> None:
    view = await pair.pending_proposal()
    for _ in range(2):
        taken = await send(pair, view, ADA.decision(view, changes=OWN))
        assert (taken["state"], taken["missing"]) == ("pending", 1)
    taken = await send(pair, view, BOB.decision(view))
    assert taken["missing"] == 1, "Bob has signed other values"
    waiting = await pair.loop(view.loop_id).query(PhilosophicalLoop.proposal)
    assert waiting.state == "pending"
    assert [(each.name, each.changes) for each in waiting.signatures.signed] == [("Ada", OWN), ("Bob", {})]
    assert pair.on_file().autopoiesis.max_turns == 2
    assert "2 wanted, 1 missing" in (await page(pair, view)).replace("&#44;", ",")
    concluded = await send(pair, view, BOB.decision(view, changes=OWN))
    assert (concluded["state"], concluded["decided_by"]) == ("approved", "Ada, Bob")
    assert pair.on_file().autopoiesis.max_turns == 5
    assert await amended(pair) == ("approved", "Ada, Bob")
    history = await pair.loop(view.loop_id).fetch_history()
    assert unsaid(deeds_of(history), await replay(history, list(WORKFLOWS))) == []


async def test_one_rejection_is_enough(pair: World) -> None:
    view = await pair.pending_proposal()
    await send(pair, view, ADA.decision(view))
    assert (await send(pair, view, BOB.decision(view, "reject")))["state"] == "rejected"
    assert await amended(pair) == ("rejected", "Bob")


async def test_a_retiring_image_does_not_wait_for_signatures(image: World) -> None:
    view = await image.pending_proposal()
    await image.image.execute_update("retire", None)
    assert (await image.loop(view.loop_id).result()).state == "rejected"


async def test_who_floods_a_loop_leaves_no_more_traces(image: World) -> None:
    view = await image.pending_proposal()
    loop = image.loop(view.loop_id)
    for _ in range(MOST_RECORDED):
        await loop.signal("approve", "Mallory")

    async def full() -> bool:
        return len([event async for event in loop.fetch_history_events()]) > MOST_RECORDED

    await until(full)
    before = await events(image, view)
    assert (
        "it is not signed"
        in (await refusal(send(image, view, {"verdict": "approve", "approver": "Mallory"}))).message
    )
    assert await events(image, view) == before
    assert (await send(image, view, ADA.decision(view)))["state"] == "approved"


async def events(world: World, view: ProposalView) -> int:
    """How many of a loop's events tell of updates."""
    history = await world.loop(view.loop_id).fetch_history()
    return json.dumps(history.to_json_dict()).count("WorkflowExecutionUpdateAccepted")


async def test_an_edit_of_who_may_decide_is_on_record_and_holds_for_the_next_loop(world: World) -> None:
    open_to_all = await world.pending_proposal()
    text = world.file.read_text()
    world.file.write_text(text.replace("approvers = []", f"approvers = {json.dumps([ADA.line])}"))
    assert (await world.image.execute_update("reload_settings", None))["changed"]
    entry = (await world.state()).ledger.amendments[-1]
    assert (entry.state, entry.justification) == ("adopted", "says anew who may decide: Ada")
    assert (await world.decide(open_to_all.loop_id, "reject")).state == "rejected"
    await world.loops_concluded()
    assert (await world.pending_proposal(OTHER)).signatures.approvers == [ADA.line]


async def test_the_digest_covers_all_that_is_shown_before_a_signature(image: World) -> None:
    state = await image.state()
    start = LoopStart(
        image_id="i", loop_id="i/loop/1", window=[], settings=state.settings, settings_digest="0" * 12
    )
    change = Change(key="autopoiesis.max_turns", old=2, new=3)
    shown = Proposal(changes=[change], justification="why", evidence={"tasks": 4})
    others: list[dict[str, Any]] = [
        {},
        {"changes": [change.model_copy(update={"new": 4})]},
        {"justification": "because"},
        {"expected_effect": "much"},
        {"evidence": {"tasks": 5}},
        {"rounds": [Round(replays=[Replay(task_id="t", arm=0, outcome="failed")])]},
        {"importance": {"autopoiesis.max_turns": 0.5}},
        {"source": "person"},
    ]
    digests = {digest_of(start, shown.model_copy(update=other), "diff") for other in others}
    digests |= {digest_of(start, shown, "another diff")}
    digests |= {digest_of(start.model_copy(update={"urgent": True}), shown, "diff")}
    assert len(digests) == len(others) + 2
