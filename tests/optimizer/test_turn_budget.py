"""The rule behind the proposer: both directions, no no-op, within bounds, and no shortening as a cure."""

from datetime import UTC, datetime

import pytest

from configuration import Settings
from configuration.reading import load_settings
from messages.common import Outcome
from messages.loops import OptimizerRequest, Proposal
from messages.tasks import PerformanceLog
from optimizer.turn_budget import KEY, propose
from testbed.world import SETTINGS

End = tuple[Outcome, int, float | None]


def times(count: int, outcome: Outcome, turns: int, dissonance: float | None) -> list[End]:
    return [(outcome, turns, dissonance)] * count


def settings(max_turns: int) -> Settings:
    return load_settings(SETTINGS).with_changes({KEY: max_turns})


def log(number: int, outcome: Outcome, turns: int, dissonance: float | None, digest: str) -> PerformanceLog:
    return PerformanceLog(
        task_id=f"t{number}",
        final_dissonance=dissonance,
        turn_count=turns,
        outcome=outcome,
        settings_digest=digest,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def answer(max_turns: int, *ends: End) -> Proposal | str:
    present = settings(max_turns)
    window = [log(number, *end, present.digest()) for number, end in enumerate(ends)]
    given = propose(OptimizerRequest(window=window, settings=present, settings_digest=present.digest()))
    assert (given.proposal is None) == bool(given.reason)
    return given.proposal or given.reason


def change(proposal: Proposal | str) -> tuple[object, object]:
    assert isinstance(proposal, Proposal), proposal
    (only,) = proposal.changes
    assert only.key == KEY
    return only.old, only.new


def test_arguments_that_run_out_of_turns_get_one_more() -> None:
    assert change(answer(3, *times(4, "max_turns", 3, 0.7))) == (3, 4)


def test_it_fires_again_after_its_own_change_was_approved() -> None:
    turns = 1
    while turns < load_settings(SETTINGS).tunables()[KEY].high:
        old, new = change(answer(turns, *times(5, "max_turns", turns, 1.0)))
        assert (old, new) == (turns, turns + 1)
        turns += 1
    assert "upper bound" in str(answer(turns, *times(5, "max_turns", turns, 1.0)))


def test_turns_that_nobody_uses_are_taken_back_but_never_one_that_was_used() -> None:
    agreed = times(4, "converged", 1, 0.0)
    assert change(answer(5, *times(3, "converged", 1, 0.0), ("converged", 3, 0.3))) == (5, 4)
    for fits in (answer(4, *times(3, "converged", 1, 0.0), ("converged", 3, 0.3)), answer(1, *agreed)):
        assert "the budget of turns fits" in str(fits)


@pytest.mark.parametrize("dissonance", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("turns", [2, 5, 9])
def test_high_dissonance_never_shortens_an_argument(turns: int, dissonance: float) -> None:
    assert change(answer(turns, *times(6, "max_turns", turns, dissonance))) == (turns, turns + 1)


def test_logs_of_other_settings_and_failures_prove_nothing() -> None:
    present = settings(3)
    window = [log(number, "max_turns", 3, 1.0, "of other settings") for number in range(20)]
    window += [log(number, "failed", 0, None, present.digest()) for number in range(20, 40)]
    given = propose(OptimizerRequest(window=window, settings=present, settings_digest=present.digest()))
    assert given.proposal is None
    assert (
        given.reason == "0 finished arguments under the present settings (20 failed); at least 4 are needed"
    )


def test_a_missing_dissonance_is_counted_and_not_invented() -> None:
    proposal = answer(3, *times(3, "max_turns", 3, None), *times(4, "max_turns", 3, 0.7))
    assert isinstance(proposal, Proposal)
    assert proposal.justification == "4 of 4 arguments ran out of turns at max_turns = 3."
    assert proposal.evidence["arguments"] == 4
    assert proposal.evidence["mean final dissonance"] == 0.7
    assert proposal.evidence["without a dissonance"] == 3


@pytest.mark.parametrize("measured", [0, 1, 3])
def test_nothing_is_proposed_on_arguments_that_were_not_measured(measured: int) -> None:
    reason = str(answer(3, *times(10, "max_turns", 3, None), *times(measured, "max_turns", 3, 1.0)))
    assert reason.startswith(
        f"{10 + measured} finished arguments under the present settings (0 failed), 10 of"
    )
    assert "at least 4 with one are needed" in reason
    assert "a model for ROBIN that does not think" in reason


def test_an_unmeasured_argument_keeps_the_turns_that_it_used() -> None:
    agreed = times(4, "converged", 1, 0.0)
    assert change(answer(5, *agreed)) == (5, 4)
    assert "the budget of turns fits" in str(answer(5, *agreed, ("max_turns", 5, None)))


def test_an_empty_window_is_answered_with_a_reason() -> None:
    assert "at least 4 are needed" in str(answer(3))
