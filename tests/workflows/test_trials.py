"""Candidates are tried on recorded tasks before a person is asked, behind every task of a person."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from messages.image import ImageStatus
from messages.loops import Change, LoopStart, Proposal
from messages.trials import Effect, Judged, Provenance, Replay, Round
from testbed.fake_ollama import FakeOllama, Script
from testbed.world import World, until
from tests.workflows.image_states import SHIPPED
from tests.workflows.tried import TRYING, argued, replays, thought
from workflows.philosophical_loop import PhilosophicalLoop, digest_of


@pytest.fixture
async def trying(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[World]:
    async with argued(client, ollama, tmp_path) as world:
        yield world


async def test_a_setting_that_is_truly_better_is_found_tried_judged_and_proposed(trying: World) -> None:
    trying.ollama.script.prefers = "said at 0.8"
    loop_id = await trying.reflect()
    view = await thought(trying, loop_id)
    assert view.state == "pending", view.reason
    assert {change.key: change.new for change in view.changes}["temperatures.robin"] == 0.8
    # So much better that two tasks are enough, and the judge compares what a person will be asked for.
    (tried,) = view.rounds
    assert len(tried.rows()) == 2
    assert view.mode == "full"
    assert view.judged is not None
    assert view.judged.pairs == 2
    state = await trying.state()
    assert [log.origin for log in state.window] == ["person"] * 8
    assert state.finished_count == 8


async def test_a_setting_that_lowers_dissonance_while_its_answers_are_worse_is_not_proposed(
    trying: World,
) -> None:
    trying.ollama.script.prefers = "after 0.6"  # what ALFRED makes of ROBIN's words as they are now
    view = await thought(trying, await trying.reflect())
    assert view.state == "no_proposal", view.findings()
    assert "the judge found its answers worse 2 times and better 0 times" in view.reason


async def test_where_nothing_makes_a_difference_nothing_is_proposed(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = Script(labels=["partly_different"])
    async with World(client, ollama, tmp_path, TRYING) as world:
        await asyncio.gather(*(world.ask(f"Question {number}?") for number in range(8)))
        loop_id = await world.reflect()
        view = await thought(world, loop_id)
        assert view.state == "no_proposal"
        assert [len(tried.rows()) for tried in view.rounds] == [2, 5]
        assert len(await replays(world, loop_id)) == 5 * 2 + 5
        # What was tried is learnt from: rows of the table that no window ever held.
        assert any(row.paired for row in (await world.state()).observing.table())


async def test_without_a_model_the_numbers_alone_propose_and_say_what_was_not_looked_at(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script.models = []
    async with World(client, ollama, tmp_path, TRYING) as world:
        view = await world.pending_proposal()
        assert view.mode == "degraded"
        creator, trials = view.not_evaluated
        assert creator.startswith("no candidates of a model's: ModelNotPulled: ")
        assert trials == "no trials: no task of the window is on record"


async def test_trials_wait_while_the_image_is_paused_and_none_runs_twice(trying: World) -> None:
    loop_id = await trying.reflect()

    async def begun() -> bool:
        return len(await replays(trying, loop_id)) >= 2

    await until(begun)
    await trying.update("pause", None, ImageStatus)

    async def quiet() -> bool:
        loop = (await trying.loop(loop_id).describe()).raw_description
        return not (
            loop.HasField("pending_workflow_task") or loop.pending_activities or loop.pending_children
        )

    await until(quiet)
    before = await replays(trying, loop_id)
    assert WorkflowExecutionStatus.RUNNING not in before.values()
    await asyncio.sleep(1)
    assert await replays(trying, loop_id) == before
    await trying.update("resume", None, ImageStatus)
    view = await thought(trying, loop_id)
    told = [
        (number, one.arm, one.task_id) for number, tried in enumerate(view.rounds) for one in tried.argued
    ]
    assert len(told) == len(set(told)) == len(await replays(trying, loop_id))


async def test_an_image_that_retires_does_not_wait_for_its_trials(trying: World) -> None:
    loop_id = await trying.reflect()

    async def begun() -> bool:
        return bool(await replays(trying, loop_id))

    await until(begun)
    await trying.update("retire", None, ImageStatus)
    assert (await trying.image.result()).phase == "retired"
    view = await trying.loop(loop_id).query(PhilosophicalLoop.proposal)
    assert (view.state, view.decided_by) == ("rejected", trying.name)
    assert WorkflowExecutionStatus.RUNNING not in (await replays(trying, loop_id)).values()


async def test_trials_end_at_their_budget_and_the_approver_is_told(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with argued(client, ollama, tmp_path, {"optimizer.trial_budget_tokens": 8_000}) as world:
        loop_id = await world.reflect()
        view = await thought(world, loop_id)
        paid_for = [one for tried in view.rounds for one in tried.argued]
        (told,) = [told for told in view.not_evaluated if told.startswith("the trials ended early, at ")]
        spent = int(told.removeprefix("the trials ended early, at ").split()[0])
        tokens = sorted(one.tokens for one in paid_for)
        assert sum(tokens) <= spent  # the Creator's are in it
        at_once = (await world.state()).settings.system.max_concurrent_tasks - 1
        assert 8_000 <= spent < 8_000 + sum(tokens[-at_once:])  # those that ran when it was reached
        assert len(await replays(world, loop_id)) == len(paid_for) < 3 * 3


async def test_tasks_of_people_go_before_trials_at_the_model(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with argued(client, ollama, tmp_path, {"models.max_concurrent_calls": 1}) as world:
        loop_id = await world.reflect()

        async def begun() -> bool:
            return bool(await replays(world, loop_id))

        await until(begun)
        ollama.script.delay_seconds = 1.0  # longer than whoever waits takes to get into the line
        past = len(ollama.calls)
        await asyncio.gather(*(world.ask(f"Person {number}?") for number in range(4)))
        calls = ["Person" in call.user for call in ollama.calls[past:]]
        # A trial gets a slot only in the gaps that they leave.
        assert calls.count(False) < calls.count(True) / 3, calls


def test_the_digest_covers_all_that_the_approver_is_shown() -> None:
    start = LoopStart(
        image_id="i", loop_id="i/loop/1", window=[], settings=SHIPPED, settings_digest=SHIPPED.digest()
    )
    shown = Proposal(
        changes=[Change(key="autopoiesis.max_turns", old=4, new=5)],
        effect=Effect(gain=0.1, low=0.05, high=0.15, better=0.9, worse=0.0),
        judged=Judged(wins=3),
        provenance=Provenance(inputs="0123456789ab", seed=1, versions={}),
    )
    others: list[dict[str, Any]] = [
        {"justification": "Because."},
        {"evidence": {"tasks tried": 7}},
        {"effect": None},
        {"judged": Judged(losses=3)},
        {"single": Judged(losses=3)},
        {"rounds": [Round(replays=[Replay(task_id="t", arm=0, outcome="failed")])]},
        {"not_evaluated": ["nobody compared the answers"]},
        {"mode": "degraded"},
        {"trial_tokens": 1},
    ]
    digests = {digest_of(start, shown.model_copy(update=other)) for other in ({}, *others)}
    assert len(digests) == 1 + len(others)
