"""From what the image knows to what it tries, asks a person for, or leaves alone: the same every time.

The loop calls it again with what came of the answer before: no rounds yet, then candidates to try; after the
first round, what is worth a second one; at the end, a proposal or the reason why there is none.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy
import sklearn

from configuration import InvalidSettings
from messages.loops import Change, OptimizerAnswer, OptimizerRequest, Proposal
from messages.trials import Candidate, Effect, Judged, Observation, Provenance, Round
from optimizer.candidates import DROP_BELOW, WORSE_BY, best, measured, objections, pool, promise
from optimizer.enough import too_little
from optimizer.goals import Goals
from optimizer.paired import Paired, paired
from optimizer.screening import mixtures, screen
from optimizer.space import Space, Values
from optimizer.surrogate import Surrogate, tasks
from optimizer.wording import evidence, expected_effect, justification, not_worth_a_trial, objected

ONLY_ROUND, SECOND_ROUND = 3, 1
"""Candidates in each, where there is but one round, and in the second: few, on many tasks."""
ENOUGH = 0.85
"""A change that is better with this probability after the first round needs no second one."""
WORTH_A_TRIAL = 0.8
"""In shares of the minimum gain: what a decision has to gain from a trial.

It gains no less than the change is expected to, so whatever could be asked for as it is, is tried.
"""
TOP = 5
DECLINED = ("rejected", "expired")
"""How proposals ended that are not made again while the settings stay as they are."""


@dataclass
class Situation:
    """What a decision rests on. `allowed`: whether values break no rule of the settings as a whole."""

    space: Space
    goals: Goals
    present: Values
    observations: Sequence[Observation]
    conditions: str = ""
    created: Sequence[Candidate] = ()
    rounds: Sequence[Round] = ()
    judged: Sequence[Judged | None] = ()
    may_try: bool = True
    may_end_early: bool = True
    last_round: int = 2
    first_tasks: int = 3
    seed: int = 0
    allowed: Callable[[Values], bool] = field(default=lambda values: True)

    def varied(self, keys: Iterable[str]) -> bool:
        """Whether some measured row tells of each key at another value than the present one."""
        rows = [row.values for row in self.observations if tasks(row)]
        return all(any(row.get(key, self.present[key]) != self.present[key] for row in rows) for key in keys)

    def can_be_tried(self, key: str) -> bool:
        """Whether arguing recorded tasks once more tells of it: not of those of other programs."""
        return self.space.tunables[key].trials != "none"


@dataclass
class Choice:
    """The change that a person is asked for."""

    candidate: Candidate
    effect: Effect
    trial: Paired | None
    judged: Judged | None
    importance: dict[str, float]


@dataclass
class Decision:
    """Candidates to try next, a choice, or why there is none."""

    candidates: Sequence[Candidate] = ()
    top: Sequence[Candidate] = ()
    choice: Choice | None = None
    reason: str = ""


def consider(request: OptimizerRequest) -> OptimizerAnswer:
    """What to try next, what to ask a person for, or why nothing."""
    if reason := too_little(request):
        return OptimizerAnswer(reason=reason)
    situation = situation_of(request)
    decision = decide(situation)
    return OptimizerAnswer(
        candidates=[*decision.candidates],
        top=[*decision.top],
        proposal=_proposal(request, situation, decision.choice) if decision.choice else None,
        reason=decision.reason,
    )


def situation_of(request: OptimizerRequest) -> Situation:
    """What a request says, without messages and settings."""
    settings = request.settings
    declined = [
        {change.key: change.new for change in past.changes}
        for past in request.past
        if past.state in DECLINED and past.digest == request.settings_digest
    ]

    def allowed(values: Values) -> bool:
        if values in declined:
            return False
        try:
            settings.with_changes(values)
        except InvalidSettings:
            return False
        return True

    return Situation(
        space=Space(settings.tunables().values()),
        goals=Goals.of(settings),
        present=settings.tuned(),
        observations=request.observations,
        conditions=request.conditions,
        created=request.created,
        rounds=request.rounds,
        judged=request.judged,
        may_try=request.may_try,
        may_end_early=request.may_end_early,
        last_round=2 if settings.optimizer.trial_tasks > settings.optimizer.first_round_tasks else 1,
        first_tasks=settings.optimizer.first_round_tasks,
        seed=request.seed,
        allowed=allowed,
    )


def decide(situation: Situation) -> Decision:
    """The same, for any space and any table."""
    if not any(tasks(row) for row in situation.observations):
        return Decision(reason="nothing was measured yet: no argument has a dissonance at its end")
    surrogate = surrogate_of(situation)
    if not situation.rounds:
        return _begin(situation, surrogate)
    tried = situation.rounds[-1].candidates
    if situation.may_try and len(situation.rounds) < situation.last_round:
        return _go_on(situation, surrogate, tried)
    return _end(situation, surrogate, tried)


def surrogate_of(situation: Situation) -> Surrogate:
    """Learns from the table, and from the trials so far as batches of their own."""
    batch = 1 + max(row.batch for row in situation.observations)
    rows = [
        row
        for number, tried in enumerate(situation.rounds, batch)
        for row in rows_of(tried, situation.present, situation.conditions, number)
    ]
    return Surrogate(
        situation.space,
        situation.goals,
        situation.present,
        [*situation.observations, *rows],
        conditions=situation.conditions,
    )


def rows_of(tried: Round, present: Values, conditions: str, batch: int) -> list[Observation]:
    """A round of trials as rows of the table, one for each arm."""
    return [
        tried.observed(arm, digest="", conditions=conditions, batch=batch, values=present | values)
        for arm, values in enumerate([{}, *(one.values for one in tried.candidates)])
    ]


def _offered(situation: Situation) -> list[Candidate]:
    """All that a person may be asked for."""
    generator = np.random.default_rng(situation.seed)
    offered = pool(situation.space, situation.present, situation.created, generator)
    return [one for one in offered if situation.allowed(one.values)]


def _triable(situation: Situation, offered: Sequence[Candidate]) -> list[Candidate]:
    return [one for one in offered if all(map(situation.can_be_tried, one.values))]


def _begin(situation: Situation, surrogate: Surrogate) -> Decision:
    offered, foreign = _offered(situation), []
    if situation.may_try:
        # What other programs make of it is all that will ever be known; of the rest, trials tell first.
        foreign = [one for one in offered if not any(map(situation.can_be_tried, one.values))]
        offered = _triable(situation, offered)
    if foreign:
        decision = _end(situation, surrogate, foreign)
        if decision.choice or not offered:
            return decision
    top = best(surrogate, offered, situation.goals, TOP)
    if not top:
        return Decision(
            reason=f"each of {len(offered)} steps is too likely to do harm: with a probability above "
            f"{situation.goals.risk}, it is worse by more than {WORSE_BY}"
        )
    if not situation.may_try:
        return _end(situation, surrogate, offered)
    gained, needed = promise(surrogate, top[0]), WORTH_A_TRIAL * situation.goals.minimum_gain
    if gained < needed:
        return Decision(reason=not_worth_a_trial(top[0].values, situation.present, gained, needed))
    first = _screened(situation, surrogate, offered) if situation.last_round > 1 else []
    first = first or [*top[:ONLY_ROUND]]
    return Decision(candidates=_with_one_of_the_creators(surrogate, offered, first, situation.goals), top=top)


def _screened(situation: Situation, surrogate: Surrogate, offered: Sequence[Candidate]) -> list[Candidate]:
    generator = np.random.default_rng([situation.seed, 1])
    keys = [key for key, tunable in situation.space.tunables.items() if tunable.trials == "mixed"]
    mixed = mixtures(situation.space, situation.present, keys, generator)
    mixed = [one for one in mixed if situation.allowed(one.values)]
    return screen(surrogate, mixed, offered, situation.goals, situation.first_tasks)


def _with_one_of_the_creators(
    surrogate: Surrogate, offered: Sequence[Candidate], first: Sequence[Candidate], goals: Goals
) -> list[Candidate]:
    """The first round: its last place is for a model's candidate, if there is one within the cap.

    Up to three in ten trials served best where a model helped to search (arXiv 2603.24647); more did harm.
    """
    if any(one.source == "creator" for one in first):
        return [*first]
    created = best(surrogate, [one for one in offered if one.source == "creator"], goals, 1)
    return [*first[: len(first) - len(created)], *created]


def _go_on(situation: Situation, surrogate: Surrogate, tried: Sequence[Candidate]) -> Decision:
    """What is good enough already, or what is best to try next: not only of what was tried.

    Each trial tells of its neighbours, too, and two steps that both did well are one change of two keys.
    """
    if situation.may_end_early:
        decision = _end(situation, surrogate, tried)
        if decision.choice and decision.choice.effect.better >= ENOUGH:
            return decision
    told = measured(surrogate, _triable(situation, _offered(situation)))
    kept = [one for one in told if one.effect and one.effect.better >= DROP_BELOW]
    if found := best(surrogate, kept, situation.goals, SECOND_ROUND):
        return Decision(candidates=found)
    return Decision(reason=f"after the first round, no step is better with a probability of {DROP_BELOW}")


def _end(situation: Situation, surrogate: Surrogate, offered: Sequence[Candidate]) -> Decision:
    """The best of what passes the gate, or what speaks against the best of all. Mixtures are not asked for.

    Without trials each key of a change has to have been measured at another value: what the table tells of
    some keys is reason to try others, not to ask for them.
    """
    if not situation.rounds:
        offered = [one for one in offered if situation.varied(one.values)]
        if not offered:
            return Decision(
                reason="no setting was measured at another value than the present one, and nothing was tried"
            )
    judged = dict(enumerate(situation.judged)) if situation.rounds else {}
    choices = []
    for number, one in enumerate(measured(surrogate, offered)):
        if not situation.space.is_step(one.values, situation.present):
            continue
        assert one.effect is not None
        trial = paired(situation.rounds, one.values, situation.goals) if situation.rounds else None
        choice = Choice(one, one.effect, trial, judged.get(number), {})
        choices.append((objections(one.effect, situation.goals, trial, choice.judged), choice))
    if not choices:
        return Decision(
            reason="the trials ended before any change was tried that a person could be asked for"
        )
    good = [choice for against, choice in choices if not against]
    if not good:
        against, choice = max(choices, key=lambda pair: pair[1].effect.better)
        return Decision(reason=objected(choice.candidate.values, situation.present, against))
    # A key that adds next to nothing is not worth a person's attention.
    enough = max(choice.effect.gain for choice in good) - situation.goals.minimum_gain
    near = [choice for choice in good if choice.effect.gain >= enough]
    chosen = min(near, key=lambda choice: (len(choice.candidate.values), -choice.effect.gain))
    chosen.importance = importance(situation.space, surrogate)
    return Decision(choice=chosen)


def importance(space: Space, surrogate: Surrogate) -> dict[str, float]:
    """Of each key, the share of the variation of the expected loss along it, the others as at present."""
    spread = {}
    for key, tunable in space.tunables.items():
        along: Iterable[Values] = ({key: value} for value in tunable.choices)
        if tunable.kind != "choice":
            along = ({key: float(value)} for value in np.linspace(tunable.low, tunable.high, 11))
        spread[key] = float(np.var(surrogate.losses([*along])))
    whole = sum(spread.values()) or 1.0
    return {key: round(one / whole, 3) for key, one in spread.items()}


def _proposal(request: OptimizerRequest, situation: Situation, choice: Choice) -> Proposal:
    rounds = request.rounds
    missing = [*request.not_evaluated]
    if not missing and not rounds:
        missing.append("the change was not tried on recorded tasks")
    if not missing and choice.judged is None:
        missing.append("no judge compared its answers with the present ones")
    values = choice.candidate.values
    return Proposal(
        source=choice.candidate.source,
        changes=[Change(key=key, old=situation.present[key], new=value) for key, value in values.items()],
        justification=justification(choice.candidate, choice.trial, choice.judged),
        expected_effect=expected_effect(choice.effect, choice.trial),
        evidence=evidence(request, choice.effect, choice.trial),
        effect=choice.effect,
        mode="degraded" if missing else "full",
        not_evaluated=missing,
        rounds=rounds,
        judged=choice.judged,
        single=request.single,
        importance=choice.importance,
        trial_tokens=request.trial_tokens,
        provenance=provenance(request),
    )


def provenance(request: OptimizerRequest) -> Provenance:
    """The inputs by the SHA-256 of their canonical JSON, the seed, and what computed with them."""
    canonical = json.dumps(request.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return Provenance(
        inputs=hashlib.sha256(canonical.encode()).hexdigest()[:12],
        seed=request.seed,
        versions={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
    )
