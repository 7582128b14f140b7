"""A proposal and the person who decides it, through every door."""

import asyncio
import subprocess
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateStage
from temporalio.service import RPCError

from messages.image import Amendment, ReloadReceipt
from messages.loops import LoopConcluded, ProposalView
from testbed.processes import TEMPORAL
from testbed.world import World, until
from tests.workflows.refusing import refusal
from workflows.philosophical_loop import PhilosophicalLoop


async def decide(world: World, view: ProposalView, **decision: Any) -> LoopConcluded:
    concluded: LoopConcluded = await world.loop(view.loop_id).execute_update(
        "decide", {"approver": "Ada", "proposal_digest": view.digest, **decision}, result_type=LoopConcluded
    )
    return concluded


async def ledger(world: World) -> list[Amendment]:
    """The ledger once no loop is open, after checking that file, adopted settings and ledger agree."""

    await world.loops_concluded()
    state = await world.state()
    assert state.settings == world.on_file()
    assert state.ledger.revision == 1 + sum(
        entry.state in ("approved", "adopted") for entry in state.ledger.amendments
    )
    for entry in state.ledger.amendments:
        if entry.state in ("approved", "adopted") and entry.revision == state.ledger.revision:
            assert all(state.settings.flat()[change.key] == change.new for change in entry.changes)
    return state.ledger.amendments


def comments(world: World) -> list[str]:
    return [line for line in world.file.read_text().splitlines() if line.startswith("#")]


async def test_an_approved_proposal_is_in_the_file_and_on_the_ledger(world: World) -> None:
    before = comments(world)
    view = await world.pending_proposal()
    assert [change.model_dump() for change in view.changes] == [
        {"key": "autopoiesis.max_turns", "old": 2, "new": 3}
    ]
    assert "-max_turns = 2\n+max_turns = 3" in view.diff
    concluded = await decide(world, view, verdict="approve", comment="go on")
    assert (concluded.state, concluded.decided_by, concluded.comment) == ("approved", "Ada", "go on")
    after = await world.loop(view.loop_id).query(PhilosophicalLoop.proposal)
    assert (after.decided_by, after.decided_at) == ("Ada", concluded.decided_at)
    (entry,) = await ledger(world)
    assert (entry.state, entry.decided_by, entry.comment, entry.revision) == ("approved", "Ada", "go on", 2)
    assert world.on_file().autopoiesis.max_turns == 3
    assert comments(world) == before
    assert (await world.state()).window == []


async def test_the_next_task_is_pinned_to_the_new_settings(world: World) -> None:
    view = await world.pending_proposal()
    await decide(world, view, verdict="approve")
    await ledger(world)
    world.ollama.script.labels = ["opposite"]
    result = await world.ask("And now?")
    assert (result.revision, result.log.turn_count) == (2, 3)
    assert result.log.active_heuristics["autopoiesis.max_turns"] == 3
    assert result.log.settings_digest == world.on_file().digest()


async def test_the_personas_work_on_while_a_proposal_waits(world: World) -> None:
    view = await world.pending_proposal()
    result = await world.ask("Does anybody still work?")
    assert (result.revision, result.synthesis != "") == (1, True)
    assert (await world.proposal(view.loop_id)).state == "pending"


async def test_a_person_may_approve_values_of_their_own(world: World) -> None:
    view = await world.pending_proposal()
    concluded = await decide(world, view, verdict="approve", changes={"autopoiesis.max_turns": 8})
    assert concluded.changes[0].new == 8
    (entry,) = await ledger(world)
    assert entry.changes[0].new == 8
    assert world.on_file().autopoiesis.max_turns == 8


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"autopoiesis.max_turns": 11}, "max_turns = 11: must be less than or equal to 10"),
        ({"autopoiesis.max_turns": "five"}, "must be a valid integer"),
        ({"autopoiesis.max_turns": 2}, "is what holds now"),
        ({"governance.approval_timeout": "1s"}, "is not part of this proposal"),
    ],
)
async def test_own_values_out_of_bounds_are_refused_and_the_proposal_waits_on(
    world: World, changes: dict[str, Any], reason: str
) -> None:
    view = await world.pending_proposal()
    assert reason in (await refusal(decide(world, view, verdict="approve", changes=changes))).message
    assert (await world.proposal(view.loop_id)).state == "pending"


async def test_a_rejected_proposal_changes_nothing_but_the_ledger(world: World) -> None:
    before = world.file.read_bytes()
    view = await world.pending_proposal()
    assert (await decide(world, view, verdict="reject", comment="too slow")).state == "rejected"
    (entry,) = await ledger(world)
    assert (entry.state, entry.comment, entry.revision) == ("rejected", "too slow", 1)
    assert world.file.read_bytes() == before


async def test_a_decision_on_another_proposal_is_refused(world: World) -> None:
    view = await world.pending_proposal()
    wrong = view.model_copy(update={"digest": "0123456789ab"})
    assert "is not this proposal's" in (await refusal(decide(world, wrong, verdict="approve"))).message
    assert (await world.proposal(view.loop_id)).state == "pending"


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        ({"verdict": "maybe"}, "verdict: Input should be 'approve' or 'reject'"),
        ({}, 'say "verdict"'),
        ({"verdict": "approve", "approver": " "}, "say who decides"),
        ({"verdict": "reject", "changes": {"autopoiesis.max_turns": 6}}, "a rejection takes no changes"),
        ({"verdict": "approve", "aprover": "Ada"}, "aprover: Extra inputs are not permitted"),
    ],
)
async def test_an_unclear_decision_is_refused_with_the_reason(
    world: World, decision: dict[str, Any], reason: str
) -> None:
    view = await world.pending_proposal()
    assert reason in (await refusal(decide(world, view, **decision))).message
    assert (await world.proposal(view.loop_id)).state == "pending"


async def test_a_second_decision_is_refused_and_the_file_changes_once(world: World) -> None:
    view = await world.pending_proposal()
    answers = await asyncio.gather(
        *(decide(world, view, verdict="approve", approver=f"person {n}") for n in range(4)),
        return_exceptions=True,
    )
    (won,) = [answer for answer in answers if isinstance(answer, LoopConcluded)]
    (entry,) = await ledger(world)
    assert entry.decided_by == won.decided_by
    assert len(list((world.file.parent / "settings.backups").iterdir())) == 1


async def test_a_late_decision_does_not_reach_another_proposal(world: World) -> None:
    first = await world.pending_proposal()
    await decide(world, first, verdict="reject")
    await ledger(world)
    second = await world.proposal(await world.reflect(), "no_proposal")
    await world.loop(first.loop_id).result()
    with pytest.raises(RPCError, match="already completed"):
        await decide(world, first, verdict="approve")
    assert second.loop_id != first.loop_id
    assert [entry.state for entry in await ledger(world)] == ["rejected", "no_proposal"]
    assert world.on_file().autopoiesis.max_turns == 2


async def test_the_same_update_sent_twice_is_one_decision_with_one_answer(world: World) -> None:
    view = await world.pending_proposal()
    handle = world.loop(view.loop_id)
    message = {"verdict": "approve", "approver": "Ada"}
    sent = [
        await handle.start_update(
            "decide",
            message,
            id="one click",
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
            result_type=LoopConcluded,
        )
        for _ in range(2)
    ]
    first, second = [await one.result() for one in sent]
    assert first == second
    assert first.state == "approved"


@pytest.mark.parametrize("message", [None, "Ada", {"approver": "Ada", "comment": "fine"}, {}])
@pytest.mark.parametrize("verdict", ["approve", "reject"])
async def test_a_signal_decides_with_or_without_a_name(world: World, verdict: str, message: Any) -> None:
    view = await world.pending_proposal()
    arguments = [] if message is None else [message]
    await world.loop(view.loop_id).signal(verdict, args=arguments)
    (entry,) = await ledger(world)
    assert entry.state == {"approve": "approved", "reject": "rejected"}[verdict]
    assert entry.decided_by == ("Ada" if message else "somebody, by signal")


async def test_the_temporal_binary_decides_by_signal_and_by_update(world: World) -> None:
    async def temporal(*words: str) -> None:
        process = await asyncio.create_subprocess_exec(
            TEMPORAL,
            "workflow",
            *words,
            "--address",
            world.address,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, error = await process.communicate()
        assert process.returncode == 0, (out, error)

    first = await world.pending_proposal()
    await temporal("signal", "-w", first.loop_id, "--name", "approve")
    (entry,) = await ledger(world)
    assert (entry.state, entry.decided_by) == ("approved", "somebody, by signal")
    second = await world.pending_proposal()
    await temporal(
        "update", "execute", "-w", second.loop_id, "--name", "decide",
        "--input", '{"verdict": "approve", "approver": "Grace"}',
    )  # fmt: skip
    assert [(entry.state, entry.decided_by) for entry in await ledger(world)][1:] == [("approved", "Grace")]
    assert world.on_file().autopoiesis.max_turns == 4


@pytest.mark.parametrize("door", ["signal", "update"])
async def test_approval_sent_before_the_proposal_exists_is_not_lost(world: World, door: str) -> None:
    await world.stop_files_worker()
    await world.record_reasons()
    loop = world.loop(await world.reflect())
    if door == "signal":
        await loop.signal("approve", "Ada")
    else:
        sending = asyncio.create_task(
            loop.execute_update("decide", {"verdict": "approve", "approver": "Ada"}, id="early")
        )
        await until(lambda: _accepted(loop, "early"))
    assert (await loop.query(PhilosophicalLoop.proposal)).state == "analysing"
    await world.start_files_worker()
    (entry,) = await ledger(world)
    assert (entry.state, entry.decided_by) == ("approved", "Ada")
    if door == "update":
        assert (await sending)["state"] == "approved"


async def _accepted(loop: WorkflowHandle[Any, Any], update_id: str) -> bool:
    accepted = [
        event.workflow_execution_update_accepted_event_attributes.protocol_instance_id
        async for event in loop.fetch_history_events()
    ]
    return update_id in accepted


async def test_an_approval_goes_stale_when_a_person_edits_the_same_key_meanwhile(world: World) -> None:
    view = await world.pending_proposal()
    world.edit({"autopoiesis.max_turns": 7})
    edited = world.file.read_bytes()
    concluded = await decide(world, view, verdict="approve")
    assert (concluded.state, "autopoiesis.max_turns" in concluded.reason) == ("stale", True)
    states = [entry.state for entry in await ledger(world)]
    assert states == ["stale", "adopted", "no_proposal"], "the image adopts the edit and reflects anew"
    assert world.file.read_bytes() == edited
    assert len((await world.state()).window) == 8


async def test_an_edit_of_another_key_meanwhile_is_kept_and_recorded_as_the_persons(world: World) -> None:
    view = await world.pending_proposal()
    world.edit({"models.temperature": 0.9})
    assert (await decide(world, view, verdict="approve")).state == "approved"
    loops, persons = await ledger(world)
    assert (loops.state, loops.changes[0].key) == ("approved", "autopoiesis.max_turns")
    assert (persons.state, persons.changes[0].key) == ("adopted", "models.temperature")
    assert (world.on_file().autopoiesis.max_turns, world.on_file().models.temperature) == (3, 0.9)


async def test_a_reflection_without_a_finding_is_on_record_with_its_reason_and_keeps_the_logs(
    world: World,
) -> None:
    await world.record_logs(3)
    await world.proposal(await world.reflect(), "no_proposal")
    (entry,) = await ledger(world)
    assert (entry.state, "at least 4 are needed" in entry.reason) == ("no_proposal", True)
    assert len((await world.state()).window) == 3


async def test_enough_logs_open_a_loop_by_themselves_and_real_arguments_end_in_a_proposal(
    world: World,
) -> None:
    for turns, label in ((3, "same"), (2, "opposite")):
        world.edit({"autopoiesis.max_turns": turns})
        await world.update("reload_settings", None, ReloadReceipt)
        world.ollama.script.labels = [label]
        await asyncio.gather(*(world.ask(f"Question {number} at {turns}?") for number in range(4)))
    (loop_id,) = await until(lambda: _waiting(world))
    view = await world.proposal(loop_id)
    assert view.evidence["arguments under the present settings"] == 4


async def test_a_terminated_loop_is_noticed_and_recorded(world: World) -> None:
    view = await world.pending_proposal()
    await world.loop(view.loop_id).terminate()
    (entry,) = await ledger(world)
    assert (entry.state, "terminated" in entry.reason) == ("failed", True)


async def test_the_inbox_lists_a_proposal_while_it_waits_and_no_longer(world: World, client: Client) -> None:
    async def inbox() -> list[str]:
        query = f"NeedsHuman = true AND WorkflowId STARTS_WITH '{world.name}'"
        return [found.id async for found in client.list_workflows(query)]

    view = await world.pending_proposal()
    assert await until(inbox) == [view.loop_id]
    await decide(world, view, verdict="reject")

    async def empty() -> bool:
        return await inbox() == []

    assert await until(empty)


async def _waiting(world: World) -> list[str]:
    return (await world.status()).waiting_loops
