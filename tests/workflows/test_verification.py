"""Which task runs under which settings, and what a block leaves behind. Pure."""

import random
import re
from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from messages.image import Amendment
from messages.loops import Change
from messages.requests import VerifySettings
from messages.tasks import Task
from tests.workflows.image_states import NOW, SHIPPED, TURNS, a_log, a_state
from workflows.image_state import ImageState, RunningTask
from workflows.verification import Verification
from workflows.verifying import Verifier, begin

CHANGED = [Change(key=TURNS, old=3, new=4)]


def an_entry(**more: object) -> Amendment:
    usual = {"revision": 2, "digest_before": "b", "digest": "a", "loop_id": "i/loop/1", "state": "approved"}
    return Amendment.model_validate({**usual, "changes": CHANGED, "decided_at": NOW, **more})


@pytest.fixture
def state() -> ImageState:
    """An image with many tasks to do, in which a change has just been approved."""
    state = a_state()
    state.ledger.settings = SHIPPED.with_changes({"system.max_concurrent_tasks": 5, TURNS: 4})
    begin(state, an_entry(), NOW)
    return state


def verification_of(state: ImageState) -> Verification:
    assert state.verifying.current is not None
    return state.verifying.current


def start(state: ImageState, count: int) -> list[RunningTask]:
    """Hand in so many tasks, and start as many as may run."""
    for _ in range(count):
        name = f"t{len(state.queue) + state.finished_count + len(state.running)}"
        state.queue.append(Task(task_id=name, task="Why?", origin="person", submitted_at=NOW))
    started = []
    while task := state.next_task():
        started.append(task[0])
    return started


def finish(state: ImageState, task: RunningTask, dissonance: float = 0.7, **more: Any) -> None:
    told: dict[str, Any] = {"settings_digest": task.settings_digest, "final_dissonance": dissonance, **more}
    state.finish(a_log(task.task_id, **told), "", NOW)


def test_of_each_two_tasks_one_runs_under_the_old_values_and_one_under_the_new(state: ImageState) -> None:
    old = state.settings.with_changes({TURNS: 3})
    arms = []
    for _ in range(300):
        (first,), (second,) = start(state, 1), start(state, 1)
        assert first.block == second.block
        assert {first.arm, second.arm} == {"old", "new"}
        for task in (first, second):
            expected = old if task.arm == "old" else state.settings
            assert task.settings_digest == expected.digest()
            assert task.heuristics[TURNS] == expected.autopoiesis.max_turns
        arms.append(first.arm)
        state.drop_running(first.task_id, "", NOW)
        state.drop_running(second.task_id, "", NOW)
    # Which one comes first is chance: within four standard deviations of a half.
    assert abs(arms.count("old") - 150) < 4 * 300**0.5 / 2


@pytest.mark.parametrize("seed", range(5))
def test_a_block_counts_once_in_whatever_order_its_tasks_end(state: ImageState, seed: int) -> None:
    chance = random.Random(seed)
    current = verification_of(state)
    whole = 0
    for _ in range(60):
        start(state, chance.randrange(3))
        if state.running and chance.random() < 0.9:
            task = chance.choice(state.running)
            whole += task.block in current.halves
            finish(state, task)
        assert len(current.halves) <= 6
        assert len(current.model_dump_json()) < 4096
    if current.watch.verdict is None:
        assert current.watch.differences.n == whole


def test_what_was_not_measured_is_no_data_and_a_failure_on_one_side_speaks_against_it(
    state: ImageState,
) -> None:
    current = verification_of(state)
    tasks = {task.arm: task for task in start(state, 2)}
    finish(state, tasks["old"], outcome="max_turns", final_dissonance=None)
    finish(state, tasks["new"])
    assert (current.watch.differences.n, current.watch.guardrails) == (0, {})
    tasks = {task.arm: task for task in start(state, 2)}
    finish(state, tasks["old"])
    finish(state, tasks["new"], outcome="failed", final_dissonance=None)
    assert current.watch.differences.n == 0
    assert current.watch.guardrails["failures"].value > 1


def test_the_type_of_a_task_is_no_effect_of_the_settings(state: ImageState) -> None:
    for number in range(60):
        kind, dissonance = [("easy", 0.2), ("hard", 0.6)][number % 2]
        state.record_log(a_log(f"before{number}", kind, final_dissonance=dissonance, outcome="max_turns"))
    begin(state, an_entry(revision=3), NOW)
    current = verification_of(state)
    first, second = start(state, 2)
    finish(state, first, 0.2, task_type="easy", outcome="max_turns")
    finish(state, second, 0.6, task_type="hard", outcome="max_turns")
    # 0.4 apart; the effects are shrunk, since thirty tasks of a type are few.
    assert abs(current.watch.differences.mean) < 0.11


def test_a_half_whose_other_task_is_gone_is_forgotten(state: ImageState) -> None:
    """As after a restore: what ran begins anew, under a place of its own."""
    current = verification_of(state)
    first, _ = start(state, 2)
    finish(state, first)
    assert len(current.halves) == 1
    again = ImageState.model_validate_json(state.model_dump_json())
    again.running = []
    restored = verification_of(again)
    restored.forget_halves(set())
    assert restored.halves == {}
    assert [task.block for task in start(again, 2)] == [1, 1]


def test_tasks_of_an_earlier_verification_do_not_count_in_the_next(state: ImageState) -> None:
    tasks = start(state, 2)
    verification_of(state).settle()
    begin(state, an_entry(revision=3), NOW)
    for task in tasks:
        finish(state, task)
    current = verification_of(state)
    assert (current.halves, current.watch.differences.n) == ({}, 0)
    assert current.ends_at == NOW + timedelta(days=30)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (an_entry(state="adopted", changes=[]), "no person's edit is in the ledger"),
        (
            an_entry(state="adopted", changes=[Change(key="cadence.window", old=90, new=100)]),
            "changed nothing that is tunable",
        ),
        (an_entry(state="adopted", changes=[Change(key=TURNS, old=3, new=9)]), "does not hold any more"),
    ],
)
def test_what_cannot_be_verified_is_refused_with_the_reason(entry: Amendment, why: str) -> None:
    state = a_state()
    state.ledger.amendments = [entry]

    async def never(*_: object) -> str:
        raise AssertionError

    verifier = Verifier(state, never, lambda: None)
    with pytest.raises(ApplicationError, match=re.escape(why)):
        verifier.edit_to_verify(VerifySettings())


def test_old_values_that_an_edit_forbids_stop_no_task(state: ImageState) -> None:
    """Until the image looks again: its next task starts, and one that ends is filed."""
    tokens = "models.max_answer_tokens"
    begin(state, an_entry(revision=3, changes=[Change(key=tokens, old=4096, new=700)]), NOW)
    state.ledger.settings = state.settings.with_changes({"models.context_tokens": 4096})
    assert not verification_of(state).has_a_way_back(state.settings)
    for task in start(state, 2):
        assert task.settings_digest == state.ledger.digest
        finish(state, task)
    assert state.finished_count == 2
