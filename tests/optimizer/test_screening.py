"""The first round: mixtures that tell of many keys at once, and are never asked for."""

import pytest

from configuration import Value
from messages.trials import Candidate
from optimizer.candidates import ASK_FROM
from optimizer.consider import ONLY_ROUND, SECOND_ROUND, consider, decide, situation_of
from optimizer.screening import MIXTURES
from optimizer.space import MOST_KEYS, Space
from tests.optimizer.asking import JUDGE, SETTINGS, WARM, request, tried


def warmer_is_better(values: dict[str, Value]) -> float:
    return 0.5 - (float(values.get(WARM, 0.6)) - 0.6)


def test_mixtures_then_the_best_step_then_a_proposal() -> None:
    first = consider(request())
    assert len(first.candidates) == MIXTURES
    assert max(len(one.values) for one in first.candidates) > MOST_KEYS
    warm = [float(one.values[WARM]) for one in first.candidates if WARM in one.values]
    assert max(abs(value - 0.6) for value in warm) > SETTINGS.tunables()[WARM].step
    assert not any("memory.recall" in one.values for one in first.candidates)
    assert {one.source for one in first.candidates} == {"screening"}
    assert str(first.candidates[0]).startswith("only to learn from: ")
    rounds = [tried(first.candidates, [0.5, *(warmer_is_better(one.values) for one in first.candidates)], 3)]
    second = consider(request(rounds=rounds))
    assert len(second.candidates) == SECOND_ROUND
    # Of all that the mixtures moved, it sees what made the difference.
    (step,) = second.candidates
    assert len(step.values) <= MOST_KEYS
    assert step.source == "surrogate"
    assert step.values[WARM] == 0.8
    assert step.effect is not None
    assert step.effect.better > 0.5
    rounds.append(tried([step], [0.5, 0.3], 8, first=10))
    proposal = consider(request(rounds=rounds, judged=[JUDGE], trial_tokens=150_000)).proposal
    assert proposal is not None
    assert {change.key: change.new for change in proposal.changes} == second.candidates[0].values
    assert proposal.source == "surrogate"
    assert proposal.mode == "full"
    assert proposal.effect is not None
    assert proposal.effect.better >= ASK_FROM
    assert proposal.trial_tokens == 150_000
    assert proposal.evidence["tasks tried"] == 8
    assert sum(proposal.importance.values()) == pytest.approx(1, abs=0.01)
    assert f"{proposal.effect.gain:.3f}" in proposal.expected_effect


@pytest.mark.parametrize("values", [None, {WARM: 1.2}], ids=["many keys", "one key, three steps away"])
def test_no_mixture_is_asked_for_however_well_it_does(values: dict[str, Value] | None) -> None:
    first = [Candidate(values=values)] if values else consider(request()).candidates
    rounds = [tried(first, [0.9, *(0.1 for _ in first)], 40)]
    ended = consider(request(rounds=rounds, may_try=False))
    assert ended.proposal is None
    assert "before any change was tried that a person could be asked for" in ended.reason
    (step,) = consider(request(rounds=rounds, may_end_early=True)).candidates
    assert Space(SETTINGS.tunables().values()).is_step(step.values, SETTINGS.tuned())


def test_where_there_is_one_round_only_what_may_be_asked_for_is_tried() -> None:
    once = SETTINGS.with_changes({"optimizer.trial_tasks": 1})
    found = consider(request(settings=once))
    assert found.candidates == found.top[:ONLY_ROUND]


def test_where_no_mixture_may_be_tried_the_best_steps_are() -> None:
    asked = situation_of(request())
    asked.allowed = lambda values: len(values) == 1
    found = decide(asked)
    assert found.candidates == found.top[:ONLY_ROUND]
