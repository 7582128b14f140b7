"""What the image remembers is bounded at any age, and nothing it promised to keep is lost."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from messages.common import TASK_BYTES
from messages.tasks import PerformanceLog, TaskCompleted
from tests.workflows.image_states import (
    LONG,
    LONGEST,
    NOW,
    SHIPPED,
    a_log,
    a_state,
)
from tests.workflows.longest_life import WORST, Life, longest_task_type, queue
from workflows.bounded import keep_newest, size_of
from workflows.image_state import QUEUE_BYTES, ImageState
from workflows.observing import TABLE_BYTES

LIMIT_BYTES = 256 * 1024
MODELS = ("alfred", "babs", "brick", "robin", "embedding")


@pytest.fixture
def state() -> ImageState:
    return a_state()


# --- bounds ---


@pytest.mark.parametrize("char", WORST.values(), ids=WORST.keys())
def test_the_state_stays_under_256_kib_through_thousands_of_the_largest_events(char: str) -> None:
    life = Life(char, seed=1)
    fullest = 0
    for event in range(1000):
        life.live()
        if event % 100 == 0:
            assert life.bytes() < LIMIT_BYTES
            fullest = max(fullest, size_of(life.state.observing))
    life.fill()
    assert life.bytes() < LIMIT_BYTES
    # All that may be tuned takes up to 3 KiB for one digest, so that much may be free when one has left.
    assert TABLE_BYTES - 4 * 1024 < fullest <= TABLE_BYTES
    assert ImageState.model_validate_json(life.state.model_dump_json()) == life.state


@pytest.mark.parametrize("char", WORST.values(), ids=WORST.keys())
def test_the_queue_accepts_no_more_than_it_may_hold(char: str) -> None:
    life = Life(char, seed=1)
    life.fill()
    assert sum(len(task.model_dump_json().encode()) for task in life.state.queue) <= QUEUE_BYTES


@pytest.mark.parametrize("seed", range(2))
def test_every_accepted_task_starts_once_in_the_order_of_acceptance(seed: int) -> None:
    life = Life("x", seed)
    for _ in range(1000):
        life.live()
    while life.state.queue:
        life.finish()
        life.start()
    assert [name for name in life.started if name not in life.goals] == life.accepted
    assert [name for name in life.started if name in life.goals] == life.goals
    assert life.state.finished_count + len(life.state.running) == len(life.started)


def test_a_full_queue_refuses_with_the_reason(state: ImageState) -> None:
    state.ledger.settings = SHIPPED.with_changes({"system.max_queued_tasks": 3})
    assert [queue(state, f"t{n}") for n in range(4)] == [True, True, True, False]
    assert "3 tasks wait ([system] max_queued_tasks)" in state.why_no_room("Why?")


def test_a_queue_full_of_text_refuses_with_the_reason(state: ImageState) -> None:
    while queue(state, f"t{len(state.queue)}", "x" * TASK_BYTES):
        pass
    assert len(state.queue) < SHIPPED.system.max_queued_tasks
    assert "36 KiB of task text wait" in state.why_no_room("x" * TASK_BYTES)
    assert state.why_no_room("Why?") == ""


def test_lists_drop_their_oldest_first() -> None:
    assert keep_newest(list("abcd"), 2, 100) == ["c", "d"]
    assert keep_newest(["a" * 100, "b" * 10, "c" * 10], 9, 30) == ["b" * 10, "c" * 10]


def test_one_entry_too_large_for_its_list_does_not_push_out_the_others() -> None:
    assert keep_newest(["a", "b", "x" * 50], 9, 10) == ["a", "b"]


# --- what is kept, once ---


def test_a_log_sent_twice_counts_once(state: ImageState) -> None:
    assert [state.record_log(a_log("one")) for _ in range(3)] == [True, False, False]
    assert [log.task_id for log in state.window] == ["one"]


def test_a_task_reported_twice_is_finished_once(state: ImageState) -> None:
    queue(state, "one")
    state.next_task()
    assert [state.finish(a_log("one"), "", NOW) for _ in range(2)] == [True, False]
    assert (state.finished_count, len(state.finished), len(state.window)) == (1, 1, 1)


def test_a_lost_task_is_finished_as_failed_with_a_log_and_the_reason(state: ImageState) -> None:
    queue(state, "one")
    state.next_task()
    log = state.lost_task_log("one", NOW + timedelta(seconds=90))
    assert log is not None
    state.finish(log, "Lost: terminated", NOW)
    (view,) = state.finished
    assert (view.outcome, view.failure, state.failed_count) == ("failed", "Lost: terminated", 1)
    assert (state.window[0].final_dissonance, state.window[0].seconds) == (None, 90)


def test_the_queue_of_a_retired_image_is_on_record_as_failed(state: ImageState) -> None:
    for number in range(3):
        queue(state, f"t{number}")
    state.drop_queue("Retired: the image was retired", NOW)
    assert state.queue == []
    assert [view.failure for view in state.finished] == ["Retired: the image was retired"] * 3


@pytest.mark.parametrize("char", WORST.values(), ids=WORST.keys())
def test_every_task_that_is_accepted_can_be_logged(char: str) -> None:
    PerformanceLog(
        task_id="t" * 64,
        task_type=longest_task_type(char),
        final_dissonance=LONG,
        turn_count=10,
        outcome="converged",
        settings_digest=SHIPPED.digest(),
        conditions="0123456789ab",
        arm="old",
        active_heuristics=LONGEST.heuristics(),
        tokens_in=10**6,
        tokens_out=10**6,
        seconds=86400.123,
        origin="motivator",
        finished_at=NOW.replace(microsecond=123456),
    )


def test_the_news_of_a_task_cannot_name_a_model_at_any_length() -> None:
    with pytest.raises(ValidationError):
        TaskCompleted(task_id="one", log=a_log("one"), model_backend="x" * 1000)
