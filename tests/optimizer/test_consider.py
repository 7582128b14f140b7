"""From a table to trials, and from trials to a proposal or the reason why there is none."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configuration import Settings, Value
from messages.loops import Change, OptimizerAnswer, OptimizerRequest, Past
from messages.tasks import PerformanceLog
from messages.trials import Candidate, Effect, Judged, Replay, Round
from optimizer.candidates import knowledge_gradient, objections
from optimizer.consider import ENOUGH, consider
from optimizer.paired import paired
from optimizer.screening import FAR
from optimizer.space import MOST_KEYS, Space
from testbed.world import SETTINGS as SHIPPED
from tests.optimizer.asking import (
    ARGUED,
    GOALS,
    SETTINGS,
    WARM,
    request,
    row,
    through_both_rounds,
    tried,
)


def test_nothing_measured_means_no_proposal() -> None:
    unmeasured = row(0.5).model_copy(update={"dissonance": {}, "failed": 40})
    for observations in ([], [unmeasured]):
        found = consider(request(observations=observations))
        assert not found.candidates
        assert found.proposal is None
        assert "nothing was measured" in found.reason


def test_what_is_good_enough_after_the_first_round_needs_no_second_one() -> None:
    first = [Candidate(values={key: 0.8}) for key in ("temperatures.alfred", WARM, "temperatures.brick")]
    rounds = [tried(first, [0.5, 0.9, 0.2, 0.9], 5)]
    assert consider(request(rounds=rounds)).candidates  # as loops of before want it
    early = consider(request(rounds=rounds, may_end_early=True))
    assert not early.candidates
    assert early.proposal is not None
    assert {change.key: change.new for change in early.proposal.changes} == first[1].values
    assert early.proposal.effect is not None
    assert early.proposal.effect.better >= ENOUGH
    # Only its answers are compared, and what the judge says is taken for what is said of it.
    against: list[Judged | None] = [None, Judged(losses=4, wins=1), None]
    heard = consider(request(rounds=rounds, may_end_early=True, may_try=False, judged=against))
    assert heard.proposal is None
    assert "the judge found its answers worse 4 times" in heard.reason


def test_two_steps_that_did_well_are_tried_as_one_change() -> None:
    first = [Candidate(values={WARM: 0.8}), Candidate(values={"autopoiesis.max_turns": 3})]
    rounds = [tried(first, [0.6, 0.53, 0.53], 40)]
    (both,) = consider(request(observations=[row(0.6)], rounds=rounds)).candidates
    assert both.values == {WARM: 0.8, "autopoiesis.max_turns": 3}


def test_arguments_of_trials_are_not_told_as_those_of_people() -> None:
    tried_before = row(0.4, 7, n=5).model_copy(update={"paired": True})
    steep = [
        row(0.5 - 0.5 * (warm - 0.6), n, 400, temperatures__robin=warm)
        for n, warm in enumerate((0.4, 0.6, 0.8))
    ]
    proposal = consider(request(observations=[*steep, tried_before], may_try=False)).proposal
    assert proposal is not None
    assert proposal.evidence["arguments under the present settings"] == 1200


def test_where_nothing_makes_a_difference_no_trial_is_worth_its_tokens() -> None:
    known = [
        row(0.5, number // 20, 4000).model_copy(update={"values": SETTINGS.tuned() | step})
        for number, step in enumerate(Space(SETTINGS.tunables().values()).steps(SETTINGS.tuned())[:150])
    ]
    found = consider(request(observations=[row(0.5), *known]))
    assert not found.candidates
    assert found.proposal is None
    assert "not worth its tokens" in found.reason
    free = SETTINGS.with_changes({"optimizer.minimum_gain": 0.0})
    assert consider(request(observations=[row(0.5), *known], settings=free)).candidates


def test_arguments_of_before_an_edit_are_told_of_and_do_not_count() -> None:
    edited = SETTINGS.with_changes({"optimizer.trial_budget_tokens": 50_000})
    after = [log.model_copy(update={"settings_digest": edited.digest()}) for log in ARGUED]

    def asked(window: list[PerformanceLog]) -> OptimizerAnswer:
        return consider(request(window=window, settings=edited, settings_digest=edited.digest()))

    assert asked([*ARGUED, *after[:3]]).reason == (
        "3 finished arguments under the present settings (0 failed); at least 4 are needed. "
        "The window holds 4 more, argued under other settings"
    )
    assert asked([*ARGUED, *after]).candidates
    assert "The window holds" not in asked(after[:3]).reason


def test_flat_trials_lead_to_no_proposal() -> None:
    assert through_both_rounds(0.0).proposal is None
    assert through_both_rounds(0.0).reason


def test_what_lowers_the_loss_while_the_judge_finds_it_worse_is_not_proposed() -> None:
    against = Judged(wins=1, ties=1, losses=3)
    found = through_both_rounds(0.2, judged=against)
    assert found.proposal is None
    assert "the judge found its answers worse 3 times" in found.reason
    unsteady = against.model_copy(update={"flips": 3})
    assert unsteady.muted
    assert through_both_rounds(0.2, judged=unsteady).proposal is not None


def test_without_a_judge_the_approver_is_told() -> None:
    proposal = through_both_rounds(0.2, judged=None).proposal
    assert proposal is not None
    assert proposal.mode == "degraded"
    assert proposal.not_evaluated == ["no judge compared its answers with the present ones"]


def test_without_trials_the_numbers_decide_alone_under_the_same_gate() -> None:
    steep = [
        row(0.5 - 0.5 * (warm - 0.6), batch, 400, **{"temperatures__robin": warm})
        for batch, warm in enumerate((0.2, 0.4, 0.5, 0.6, 0.7, 0.8))
    ]
    told = consider(request(observations=steep, may_try=False, not_evaluated=["no recorded tasks"]))
    assert told.proposal is not None
    assert told.proposal.mode == "degraded"
    assert told.proposal.not_evaluated == ["no recorded tasks"]
    assert {change.key for change in told.proposal.changes} == {WARM}
    level = [
        row(0.5, batch, 40, **{"temperatures__robin": warm}) for batch, warm in enumerate((0.2, 0.4, 0.6))
    ]
    unsure = consider(request(observations=level, may_try=False))
    assert unsure.proposal is None
    assert "is better with a probability of" in unsure.reason


def test_without_trials_no_key_is_asked_for_that_was_measured_at_one_value_only() -> None:
    """Few turns were bad, which is reason to think that few recalled tasks are: to try more, not to ask."""
    few = SETTINGS.with_changes({"autopoiesis.max_turns": 2})
    seen = [row(0.9, 0, 400, autopoiesis__max_turns=2), row(0.1, 1, 400, autopoiesis__max_turns=3)]
    told = consider(request(settings=few, observations=seen, may_try=False))
    assert told.proposal is not None
    assert [(change.key, change.new) for change in told.proposal.changes] == [("autopoiesis.max_turns", 3)]
    unknown = consider(request(may_try=False))
    assert unknown.proposal is None
    assert "no setting was measured at another value" in unknown.reason


def test_the_same_inputs_give_the_same_answer_and_name_it() -> None:
    first, second = through_both_rounds(0.2), through_both_rounds(0.2)
    assert first == second
    assert first.proposal is not None
    assert first.proposal.provenance is not None
    other = through_both_rounds(0.2, observations=[row(0.51)])
    assert other.proposal is not None
    assert other.proposal.provenance is not None
    assert first.proposal.provenance.inputs != other.proposal.provenance.inputs
    assert set(first.proposal.provenance.versions) == {"python", "numpy", "scipy", "scikit-learn"}


def test_the_program_answers_as_the_function_does() -> None:
    asked = request()
    answer = subprocess.run(
        [sys.executable, "-m", "optimizer"],
        input=asked.model_dump_json().encode(),
        capture_output=True,
        check=True,
        cwd=SHIPPED.parent,
    )
    assert OptimizerAnswer.model_validate_json(answer.stdout) == consider(asked)


def test_what_the_creator_adds_is_tried_where_it_promises_more() -> None:
    third = Candidate(values={WARM: 0.75}, reason="a warmer voice", source="creator")
    steep = [
        row(dissonance, 0, 4000, **{"temperatures__robin": warm})
        for warm, dissonance in ((0.5, 0.6), (0.6, 0.5), (0.7, 0.45), (0.75, 0.2), (0.8, 0.45))
    ]
    found = consider(request(observations=steep, created=[third]))
    assert [one.reason for one in found.candidates if one.source == "creator"] == ["a warmer voice"]


HOSTILE = st.dictionaries(
    st.sampled_from(
        [
            *SETTINGS.flat(),
            *("governance.approval_timeout", "optimizer.risk", "system.image_id", "", "no.such", "models"),
        ]
    ),
    st.one_of(
        st.booleans(),
        st.integers(-100, 100_000),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=20),
        st.sampled_from([0.7, 0.8, 5, 3, 0.5]),
    ),
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(HOSTILE, max_size=3))
def test_hostile_candidates_never_leave_what_may_be_changed(created: list[dict[str, Value]]) -> None:
    asked = request(created=[Candidate(values=values, source="creator") for values in created])
    found = consider(asked)
    assert found.candidates
    tunables, present = SETTINGS.tunables(), SETTINGS.tuned()
    assert all(len(one.values) <= MOST_KEYS for one in found.top)
    assert all(len(one.values) <= MOST_KEYS for one in found.candidates if one.source != "screening")
    for one in (*found.candidates, *found.top):
        assert one.values
        changed: Settings = SETTINGS.with_changes(one.values)
        assert {key for key, value in changed.flat().items() if value != SETTINGS.flat()[key]} == {
            *one.values
        }
        # A mixture moves further, of its own accord: it is tried, never asked for.
        steps = FAR if one.source == "screening" else 1
        for key, value in one.values.items():
            assert key in tunables
            if tunables[key].kind != "choice":
                assert abs(float(value) - float(present[key])) <= steps * tunables[key].step + 1e-5


def test_values_that_break_a_rule_together_are_not_tried() -> None:
    asked = request(created=[Candidate(values={"models.context_tokens": 4096}, source="creator")])
    found = consider(asked)
    assert not any("models.context_tokens" in one.values for one in (*found.candidates, *found.top))


@pytest.mark.parametrize(
    ("effect", "word"),
    [
        (Effect(gain=0.05, low=0, high=0.1, better=0.79, worse=0.0), "probability of 0.79"),
        (Effect(gain=0.009, low=0, high=0.1, better=0.99, worse=0.0), "expected to gain 0.009"),
        (Effect(gain=0.05, low=0, high=0.1, better=0.9, worse=0.36), "probability of 0.36"),
    ],
)
def test_each_limit_is_named(effect: Effect, word: str) -> None:
    (objection,) = objections(effect, GOALS, None, None)
    assert word in objection


def test_a_change_under_which_more_tasks_fail_is_not_proposed() -> None:
    good = Effect(gain=0.05, low=0, high=0.1, better=0.9, worse=0.0)
    one = Candidate(values={WARM: 0.7})
    replays = tried([one], [0.5, 0.3], 3).replays
    broken = Replay(task_id="t9", arm=1, outcome="failed")
    trial = paired([Round(candidates=[one], replays=[*replays, broken])], one.values, GOALS)
    assert (trial.gain.n, trial.won, trial.lost, trial.failed) == (3, 3, 0, 1)
    assert objections(good, GOALS, trial, None) == ["1 tasks failed under it, 0 under the present settings"]
    assert objections(good, GOALS, paired([], one.values, GOALS), None) != []


def test_the_knowledge_gradient_is_what_a_decision_gains() -> None:
    generator = np.random.default_rng(5)
    mean, variance, noise = -0.01, 0.03**2, 0.02**2
    truth = generator.normal(mean, np.sqrt(variance), 200_000)
    seen = truth + generator.normal(0, np.sqrt(noise), truth.size)
    posterior = (mean / variance + seen / noise) / (1 / variance + 1 / noise)
    simulated = np.where(posterior > 0, truth, 0).mean()
    (computed,) = knowledge_gradient(np.array([mean]), np.array([variance]), noise)
    assert computed == pytest.approx(simulated, abs=2e-4)


def test_the_loss_is_clipped_and_counts_tokens() -> None:
    assert GOALS.loss(0.3, 10_000) == pytest.approx(0.35)
    assert GOALS.loss(1.0, 10_000) == 1.0


def test_requests_of_before_are_understood() -> None:
    old = json.loads(request().model_dump_json(include={"window", "settings", "settings_digest"}))
    assert consider(OptimizerRequest.model_validate(old)).reason


@pytest.mark.parametrize(("conditions", "asked"), [("", True), ("other prompts", False)])
def test_an_edit_of_prompts_in_the_middle_is_not_taken_for_an_effect_of_the_settings(
    conditions: str, asked: bool
) -> None:
    """Before the edit arguments had one turn more, and went much better."""
    before = row(0.2, 0, autopoiesis__max_turns=SETTINGS.autopoiesis.max_turns + 1)
    since = row(0.7, 1).model_copy(update={"conditions": conditions})
    found = consider(request(observations=[before, since], conditions=conditions, may_try=False))
    assert (found.proposal is not None) is asked
    if found.proposal:
        assert [change.key for change in found.proposal.changes] == ["autopoiesis.max_turns"]


# --- values of other programs ---


def with_a_length(losses: dict[int, float]) -> OptimizerRequest:
    """A program of a person's own has had lines of so many words, and they came to these losses."""
    own = {"value": 20, "low": 5, "high": 80, "step": 20, "meaning": "words of a line"}
    settings = Settings.parse(SETTINGS.model_dump(mode="json") | {"custom": {"length": own}})
    rows = [
        row(loss, batch).model_copy(update={"values": settings.tuned() | {LENGTH: value}})
        for batch, (value, loss) in enumerate(losses.items())
    ]
    present = [log.model_copy(update={"settings_digest": settings.digest()}) for log in ARGUED]
    return request(settings=settings, settings_digest=settings.digest(), window=present, observations=rows)


LENGTH = "custom.length.value"


def test_what_is_known_of_another_programs_value_is_asked_for_without_trials() -> None:
    found = consider(with_a_length({20: 0.6, 30: 0.5, 40: 0.4}))
    assert found.proposal is not None
    assert {change.key for change in found.proposal.changes} == {LENGTH}
    assert found.proposal.changes[0].new in (30, 40)
    assert found.proposal.not_evaluated == ["the change was not tried on recorded tasks"]


def test_a_key_of_ours_is_tried_and_not_asked_for_together_with_another_programs_value() -> None:
    known = with_a_length({20: 0.6, 10: 0.7, 30: 0.7})
    warmer = row(0.3, 4, temperatures__robin=0.8)
    warmer.values = {**known.settings.tuned(), WARM: 0.8}
    told = known.model_copy(update={"observations": [*known.observations, warmer]})
    found = consider(told)
    assert found.proposal is None, found.proposal.changes if found.proposal else ""
    assert any(WARM in one.values for one in found.top)
    assert not any(LENGTH in one.values for one in [*found.candidates, *found.top])
    untried = consider(told.model_copy(update={"may_try": False})).proposal
    assert untried is not None
    assert WARM in {change.key for change in untried.changes}


def test_what_no_argument_of_ours_can_tell_is_not_tried() -> None:
    found = consider(with_a_length({20: 0.5}))
    assert found.candidates
    assert not any(LENGTH in one.values for one in [*found.candidates, *found.top])


def test_what_is_tried_has_no_value_of_another_program_when_each_of_those_alone_was_declined() -> None:
    known = with_a_length({20: 0.5})
    steps = Space(known.settings.tunables().values()).moves(known.settings.tuned())[LENGTH]
    assert steps
    past = [
        Past(
            changes=[Change(key=LENGTH, old=20, new=step)],
            state="rejected",
            digest=known.settings_digest,
        )
        for step in steps
    ]
    found = consider(known.model_copy(update={"past": past}))
    assert found.candidates
    assert not any(LENGTH in one.values for one in [*found.candidates, *found.top])
