"""The watch over an approved change: what it claims, what it keeps, and how often it is wrong."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t

from messages.trials import Effect, Moments
from messages.verification import KEPT
from optimizer.verdict import (
    HARM_AT,
    LEVELS,
    LOOKS,
    Watch,
    difference,
    interval,
    levels,
    look_at,
    normal_posterior,
    p_value,
    student_sf,
)
from testbed.group_sequential import obrien_fleming

SD = 0.21
RUNS = 2000


def undecided(differences: Moments) -> float:
    return 0.5


def ends(mean: float, runs: int, *, cap: int = 40) -> list[Watch]:
    """Watches whose posterior decides nothing, so that only the tests end them."""
    generator = np.random.default_rng(7)
    found = []
    for drawn in generator.normal(mean, SD, (runs, cap)):
        watch = Watch(cap=cap)
        for value in drawn:
            watch.add(float(min(max(value, -1.0), 1.0)), undecided)
        found.append(watch)
    return found


def test_the_levels_are_those_of_obrien_and_fleming() -> None:
    assert obrien_fleming(LOOKS) == pytest.approx(LEVELS, abs=2e-4)


def test_bounds_on_t_at_forty_blocks() -> None:
    assert levels(40) == dict(zip((10, 20, 30, 40), LEVELS, strict=True))
    bounds = [t.isf(level, blocks - 1) for blocks, level in levels(40).items()]
    assert bounds == pytest.approx([5.26, 2.70, 2.09, 1.78], abs=0.01)


def test_no_difference_is_claimed_to_be_one_in_twenty_times_and_called_harm_in_ten() -> None:
    found = ends(0.0, RUNS)
    claimed = sum(watch.verdict == "improved" for watch in found) / RUNS
    # .052, as t bounds have it that rest on a normal approximation, within three standard errors.
    assert 0.037 <= claimed <= 0.067
    assert sum(watch.verdict == "harmful" for watch in found) / RUNS <= 1 / HARM_AT


def test_a_large_gain_is_claimed_and_large_harm_is_stopped_early() -> None:
    assert sum(watch.verdict == "improved" for watch in ends(0.12, 300)) / 300 > 0.9
    stopped = [watch for watch in ends(-0.15, 300) if watch.verdict == "harmful"]
    assert len(stopped) / 300 > 0.9
    assert np.median([watch.differences.n for watch in stopped]) <= 20


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 14, 29, 39, 60])
def test_student_is_exact(freedom: int) -> None:
    for value in (-3.0, 0.0, 0.5, 1.7, 3.3, 12.0):
        assert student_sf(value, freedom) == pytest.approx(t.sf(value, freedom), abs=1e-12)


def test_what_cannot_be_told_apart_from_nothing_has_no_small_p() -> None:
    same = Moments()
    for _ in range(15):
        same.add(0.3)
    assert p_value(same) == 1.0


def test_the_posterior_ends_it_at_a_look_and_at_the_cap() -> None:
    # So weak a gain that no test claims it.
    drawn = [-0.04, 0.06] * 20

    def watched(better: float) -> Watch:
        watch = Watch(cap=40)
        for value in drawn:
            watch.add(value, lambda differences: better)
        return watch

    assert [watched(better).verdict for better in (0.98, 0.95, 0.85, 0.1)] == [
        "kept_unconfirmed",
        "kept_unconfirmed",
        "no_difference",
        "no_difference",
    ]
    assert [watched(better).differences.n for better in (0.98, 0.95, 0.85, 0.1)] == [10, 40, 40, 10]


def test_a_verdict_stays_and_its_state_travels() -> None:
    watch = Watch(cap=40)
    while watch.add(-0.8, undecided) is None:
        pass
    assert watch.verdict == "harmful"
    assert watch.verdict not in KEPT
    again = Watch.model_validate_json(watch.model_dump_json())
    assert again.add(1.0, undecided) == "harmful"
    assert again == watch


def test_a_look_that_is_taken_later_decides_by_what_there_was_when_it_fell_due() -> None:
    watch, at_once = Watch(cap=40), Watch(cap=40)
    drawn = [0.3, 0.1] * 5
    for value in drawn:
        assert watch.add(value) is None
    for value in drawn:
        at_once.add(value, undecided)
    watch.add(-1.0)
    assert (watch.due, watch.looks_to_come()) == ([at_once.differences], [10, 20, 30, 40])
    again = Watch.model_validate_json(watch.model_dump_json())
    assert again.take(look_at(again.due[0], undecided)) == at_once.verdict == "improved"
    assert (again.looks, again.due, again.looks_to_come()) == (at_once.looks, [], [])


def test_what_ends_while_a_look_is_due_is_decided_by_both() -> None:
    watch = Watch(cap=40)
    for value in [0.06, -0.04] * 5:
        watch.add(value)
    watch.close()
    watch.close()
    assert [each.n for each in watch.due] == [10, 10]
    assert watch.take(look_at(watch.due[0], lambda differences: 0.92)) is None
    assert watch.take(look_at(watch.due[0], lambda differences: 0.92)) == "kept_unconfirmed"
    assert [look.blocks for look in watch.looks] == [10]


def test_harm_does_not_wait_for_a_look_that_is_due() -> None:
    watch = Watch(cap=40)
    for value in [0.06, -0.04] * 5:
        watch.add(value)
    due = watch.due[0]
    while watch.add(-0.8) is None:
        pass
    assert watch.take(look_at(due, lambda differences: 0.99)) == "harmful"


def test_extreme_differences_overflow_nothing() -> None:
    watch = Watch(cap=200)
    for _ in range(200):
        watch.add(1.0, undecided)
    assert watch.harm.value < 1e-100
    assert math.isfinite(sum(watch.harm.logs))


def test_what_was_expected_before_and_what_is_seen_make_the_posterior() -> None:
    expected = Effect(gain=0.03, low=0.03 - 1.645 * 0.03, high=0.03 + 1.645 * 0.03, better=0.84, worse=0.0)
    better = normal_posterior(expected)
    assert better(Moments()) == pytest.approx(norm.cdf(1), abs=1e-3)
    # The D have a standard deviation of .2, their mean of .03 like the prior: together .03 / sqrt(2).
    n = round((0.2 / 0.03) ** 2)
    seen = Moments(n=n, mean=0.03, m2=(n - 1) * 0.2**2)
    assert better(seen) == pytest.approx(norm.cdf(math.sqrt(2)), abs=2e-3)


def test_a_difference_is_at_most_one() -> None:
    assert [difference(0.2, 0.4), difference(1.2, 0.0), difference(-0.1, 1.0)] == pytest.approx([-0.2, 1, -1])


def test_nothing_is_kept_against_what_was_seen() -> None:
    watch = Watch(cap=40)
    for number in range(40):
        watch.add(0.1 if number % 2 else -0.11, lambda differences: 0.99)
    assert watch.verdict == "no_difference"
    assert watch.differences.n == 40


def test_with_no_task_at_all_what_was_expected_decides() -> None:
    assert Watch(cap=40).close(lambda differences: 0.95) == "kept_unconfirmed"
    assert Watch(cap=40).close(lambda differences: 0.85) == "no_difference"


def test_failures_and_ratings_on_one_side_are_harm_of_their_own() -> None:
    watch = Watch(cap=40)
    while watch.guard("failures", -1.0) is None:
        pass
    assert watch.verdict == "harmful"
    assert watch.differences.n == 0
    rated = Watch(cap=40)
    for _ in range(30):
        rated.guard("ratings", 0.4)
        rated.guard("ratings", -0.4)
    assert rated.verdict is None
    rated.guard("ratings", -0.4)
    before = rated.guardrails["ratings"].value
    rated.guard("ratings", -0.3)
    rated.guard("ratings", -0.3, -1)
    assert rated.guardrails["ratings"].value == pytest.approx(before)


def test_the_interval_is_students() -> None:
    seen = Moments()
    for value in (0.1, 0.3, -0.2, 0.25, 0.0):
        seen.add(value)
    assert seen.variance is not None
    low, high = t.interval(0.9, 4, loc=seen.mean, scale=math.sqrt(seen.variance / 5))
    assert interval(seen) == pytest.approx((low, high), abs=1e-6)
    assert interval(Moments(n=1, mean=0.3)) is None
