"""The optimizer's table stays small at any age, and no argument is lost from it in silence."""

import math
from statistics import fmean, variance
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.tasks import PerformanceLog, Task
from messages.trials import Moments, Observation
from tests.workflows.image_states import NOW, SHIPPED, a_log, a_state
from workflows.bounded import size_of
from workflows.image_state import ImageState
from workflows.observing import BATCH, MIXED, MOST_TYPES, OTHER, TABLE_BYTES, Observing, values_at

SOME = "a" * 12
OTHERS = "b" * 12


@pytest.fixture
def table() -> Observing:
    return Observing()


def argued(name: str = "one", **more: Any) -> PerformanceLog:
    return a_log(name, **{"conditions": SOME, **more})


def count(row: Observation) -> int:
    return sum(moments.n for moments in row.dissonance.values())


logs = st.builds(
    argued,
    task_type=st.sampled_from([f"type {n}".ljust(40, "\U0001f642") for n in range(9)]),
    settings_digest=st.sampled_from([*(f"{n:012x}" for n in range(30)), "", "\U0001f642" * 16]),
    conditions=st.sampled_from(["", SOME, OTHERS, "c" * 12]),
    final_dissonance=st.none() | st.floats(0, 1),
    outcome=st.sampled_from(["max_turns", "failed"]),
    active_heuristics=st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)),
    tokens_in=st.integers(0, 10**12),
    seconds=st.floats(0, 10**9),
    rating=st.none() | st.floats(0, 1),
)
rows = st.builds(
    Observation,
    digest=st.sampled_from(["0" * 12, "d" * 12]),
    conditions=st.sampled_from([SOME, OTHERS]),
    batch=st.integers(0, 2),
    values=st.just({"autopoiesis.max_turns": 3}),
    dissonance=st.dictionaries(st.text(max_size=40), st.just(Moments(n=3, mean=0.5)), max_size=9),
    failed=st.integers(0, 2),
)


# --- bounds ---


@settings(max_examples=25, deadline=None)
@given(st.lists(logs | rows, max_size=150), st.integers(1, 6))
def test_whatever_happened_is_counted_and_the_table_stays_small(
    events: list[PerformanceLog | Observation], times: int
) -> None:
    table = Observing()
    measured = failed = unmeasured = rated = 0
    for event in events * times:
        if isinstance(event, Observation):
            table.add_rows([event])
            measured, failed = measured + count(event), failed + event.failed
            continue
        table.add(event)
        failed += event.outcome == "failed"
        has_figure = event.outcome != "failed" and event.final_dissonance is not None
        measured, unmeasured = measured + has_figure, unmeasured + (event.outcome != "failed") - has_figure
        rated += event.rating is not None
    assert size_of(table) <= TABLE_BYTES
    held = sum(map(count, table.rows))
    told = held + sum(row.failed + row.unmeasured for row in table.rows)
    assert told + table.left == measured + failed + unmeasured
    if not table.left:
        assert held == measured
        assert sum(row.rating.n for row in table.rows) == rated
    assert all(len(row.dissonance) <= MOST_TYPES + 1 for row in table.rows)
    assert Observing.model_validate_json(table.model_dump_json()) == table


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50), st.data())
def test_a_value_taken_back_leaves_the_moments_of_the_others(
    values: list[float], data: st.DataObject
) -> None:
    moments = Moments()
    for value in values:
        moments.add(value)
    moments.remove(values.pop(data.draw(st.integers(0, len(values) - 1))))
    assert moments.n == len(values)
    assert math.isclose(moments.mean, fmean(values), abs_tol=1e-9)
    spread = variance(values) if len(values) > 1 else None
    assert moments.variance == (spread if spread is None else pytest.approx(spread, abs=1e-9))


def test_old_batches_of_the_same_settings_and_conditions_merge_first(table: Observing) -> None:
    for number in range(1_500):
        table.add(argued(f"n{number}", settings_digest="n" * 12))
        table.add(argued(f"o{number}", settings_digest="n" * 12, conditions=OTHERS))
    assert (table.left, sum(map(count, table.rows))) == (0, 3_000)
    assert {row.conditions for row in table.rows} == {SOME, OTHERS}
    assert len(table.rows) < 2 * table.batch
    oldest, *others = (count(row) for row in table.rows if row.conditions == SOME)
    assert oldest > BATCH
    assert set(others) == {BATCH // 2}


def test_rows_of_other_conditions_merge_where_they_are_equal_in_settings(table: Observing) -> None:
    for number in range(200):
        conditions = f"{number:012x}"
        table.add(argued(f"t{number}", settings_digest="d" * 12, conditions=conditions))
    assert table.left == 0
    assert sum(map(count, table.rows)) == 200
    assert [row.conditions for row in table.rows].count(MIXED) == 1
    assert table.rows[-1].conditions == f"{199:012x}"


def test_what_no_row_has_room_for_is_counted(table: Observing) -> None:
    for number in range(300):
        table.add(argued(f"t{number}", settings_digest=f"{number:012x}"))
    assert table.left > 0
    assert sum(map(count, table.rows)) + table.left == 300
    assert table.rows[-1].digest == f"{299:012x}"
    assert set(table.values) == {row.digest for row in table.rows}


# --- rows ---


def test_a_row_has_the_figures_of_its_arguments_by_type_of_task(table: Observing) -> None:
    for number, dissonance in enumerate((0.2, 0.4)):
        table.add(
            argued(f"a{number}", final_dissonance=dissonance, task_type="debate", tokens_in=100, seconds=2)
        )
    table.add(argued("b", final_dissonance=0.9, task_type="riddle", tokens_out=50))
    table.add(argued("c", final_dissonance=None))
    table.add(argued("d", outcome="failed", final_dissonance=None, tokens_in=10**9))
    (row,) = table.table()
    assert row.dissonance["debate"].mean == pytest.approx(0.3)
    assert row.dissonance["debate"].variance == pytest.approx(0.02)
    assert (row.dissonance["riddle"].n, row.tokens["riddle"].mean) == (1, 50)
    assert (row.tokens["debate"].mean, row.seconds.n) == (100, 3)
    assert (row.failed, row.unmeasured, row.since) == (1, 1, NOW)
    assert row.values == argued().active_heuristics  # no more is known of a log from outside


def test_types_of_task_beyond_a_handful_are_counted_together(table: Observing) -> None:
    for number in range(MOST_TYPES + 3):
        table.add(argued(f"t{number}", task_type=f"type {number}"))
    (row,) = table.rows
    assert row.dissonance[OTHER].n == 3
    assert set(row.dissonance) == set(row.tokens) == {*(f"type {n}" for n in range(MOST_TYPES)), OTHER}


def test_a_batch_ends_with_forty_measured_arguments(table: Observing) -> None:
    for number in range(2 * BATCH):
        table.add(argued(f"t{number}", final_dissonance=0.5 if number % 2 else None))
    assert [(row.batch, count(row), row.unmeasured) for row in table.rows] == [(0, BATCH, BATCH)]
    table.add(argued("next"))
    assert [row.batch for row in table.rows] == [0, 1]


def test_rows_of_trials_are_batches_of_their_own(table: Observing) -> None:
    table.add(argued())
    trial = Observation(digest="d" * 12, conditions=SOME, dissonance={"question": Moments(n=3, mean=0.2)})
    values = {"autopoiesis.max_turns": 7}
    table.add_rows([trial.model_copy(update={"batch": n, "values": values}) for n in (1, 1, 2)])
    table.add(argued("two"))
    assert [(row.batch, count(row)) for row in table.rows] == [(0, 2), (1, 3), (1, 3), (2, 3)]
    assert table.table()[-1].values == values


@pytest.mark.parametrize("figure", [{"mean": math.nan}, {"m2": math.inf}, {"m2": 1e308}, {"n": 10**18}])
def test_figures_that_no_argument_has_do_not_get_in(table: Observing, figure: dict[str, Any]) -> None:
    forged = Observation(digest="d" * 12, seconds=Moments(n=1, mean=1.0).model_copy(update=figure))
    table.add_rows([forged, Observation(digest="e" * 12, seconds=Moments(n=1, mean=1.0))])
    assert [row.digest for row in table.rows] == ["e" * 12]


# --- in the image ---


def finish(state: ImageState, name: str, **more: Any) -> None:
    state.enqueue(Task(task_id=name, task="Why?", submitted_at=NOW))
    assert state.next_task() is not None
    log = argued(name, settings_digest=state.running[-1].settings_digest, **more)
    assert state.finish(log, "", NOW)


def test_a_tasks_values_are_those_it_started_under() -> None:
    state = a_state()
    before = state.ledger.digest
    state.enqueue(Task(task_id="one", task="Why?", submitted_at=NOW))
    state.next_task()
    state.ledger.adopt_edit(SHIPPED.with_changes({"autopoiesis.max_turns": 9}), "Ada", NOW)
    state.finish(argued("one", settings_digest=before, active_heuristics={}), "", NOW)
    (row,) = state.observing.table()
    assert (row.digest, row.values) == (before, values_at(SHIPPED))


def test_trials_count_nowhere() -> None:
    state = a_state()
    assert not state.record_log(argued(origin="trial"))
    assert (state.window, state.observing.rows, state.ledger.tallies) == ([], [], [])


def test_a_state_of_before_has_an_empty_table() -> None:
    state = a_state()
    finish(state, "one")
    old = state.model_dump(mode="json")
    del old["observing"]
    for task in old["finished"]:
        del task["row"]
    loaded = ImageState.model_validate(old)
    assert (loaded.observing, loaded.finished[0].row) == (Observing(), "")
