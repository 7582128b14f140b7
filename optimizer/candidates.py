"""What is worth trying, and what is worth a person's attention."""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from messages.trials import Candidate, Effect, Judged
from optimizer.goals import Goals
from optimizer.paired import Paired
from optimizer.space import Array, Space, Values
from optimizer.surrogate import SHARED_BY_ARMS, Surrogate

ASK_FROM = 0.8
"""Below this probability of a gain no person is asked; .9 asks less often for the same regret."""
DROP_BELOW = 0.3
"""After the first round, a probability of a gain below this is not worth the tasks of a second one."""
WORSE_BY = 0.05
"""What a change that does harm is expected to raise the loss by at least."""

# A trial is scored as one of so many tasks under each of both settings: what will be known once it runs.
_TRIAL_TASKS = 20
# More steps than this are drawn from, by the seed: the posterior covariance takes their square.
_MOST_STEPS = 600
_INTERVAL = NormalDist().inv_cdf(0.95)


def pool(
    space: Space, present: Values, created: Iterable[Candidate], generator: np.random.Generator
) -> list[Candidate]:
    """All steps that may be tried, in random order, and what the Creator added to them.

    Of what it asks for, anything that is no step that may be tried is dropped; what the steps hold already
    becomes the Creator's, with its reason.
    """
    steps = space.steps(present)
    order = generator.permutation(len(steps))[:_MOST_STEPS]
    found = [Candidate(values=steps[number]) for number in order]
    for one in created:
        values = space.changed(one.values, present)
        if values is None:
            continue
        found = [known for known in found if known.values != values]
        found.append(Candidate(values=values, source="creator", reason=one.reason))
    return found


def measured(surrogate: Surrogate, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The same candidates with what the posterior expects of them."""
    if not candidates:
        return []
    return _with_effects(candidates, *surrogate.gains([one.values for one in candidates]))


def _with_effects(candidates: Sequence[Candidate], mean: Array, covariance: Array) -> list[Candidate]:
    sd = np.sqrt(covariance.diagonal())
    return [
        one.model_copy(update={"effect": effect(m, s)})
        for one, m, s in zip(candidates, mean.tolist(), sd.tolist(), strict=True)
    ]


def best(surrogate: Surrogate, candidates: Sequence[Candidate], goals: Goals, most: int) -> list[Candidate]:
    """At most so many that are worth a trial, the best one first, each given that those before it are tried.

    The score is the knowledge gradient (Frazier, Powell, Dayanik 2008): what the decision between candidate
    and present is expected to gain from one trial. What is too likely to do harm is left out.
    """
    if not candidates:
        return []
    mean, covariance = surrogate.gains([one.values for one in candidates])
    told = _with_effects(candidates, mean, covariance)
    within = safe(mean, covariance, goals)
    told, mean, covariance = [told[n] for n in within], mean[within], covariance[np.ix_(within, within)]
    noise = noise_of_a_trial(surrogate)
    chosen: list[int] = []
    for _ in range(min(most, len(told))):
        score = knowledge_gradient(mean, covariance.diagonal(), noise)
        score[chosen] = -np.inf
        one = int(score.argmax())
        chosen.append(one)
        covariance = covariance - np.outer(covariance[one], covariance[one]) / (covariance[one, one] + noise)
    return [told[number] for number in chosen]


def promise(surrogate: Surrogate, candidate: Candidate) -> float:
    """What the decision is expected to gain from a trial of this one alone, in units of loss."""
    mean, covariance = surrogate.gains([candidate.values])
    return float(knowledge_gradient(mean, covariance.diagonal(), noise_of_a_trial(surrogate))[0])


def noise_of_a_trial(surrogate: Surrogate, tasks: int = _TRIAL_TASKS) -> float:
    """The variance of the mean gain over so many tasks, the same under both settings."""
    return 2 * (1 - SHARED_BY_ARMS) * surrogate.within / tasks


def safe(mean: Array, covariance: Array, goals: Goals) -> npt.NDArray[np.intp]:
    """The places of those gains that are not too likely to be harm."""
    worse = ndtr((-WORSE_BY - mean) / np.sqrt(covariance.diagonal()))
    return np.flatnonzero(worse <= goals.risk)


def knowledge_gradient(mean: Array, variance: Array, noise: float) -> Array:
    """E max(0, posterior mean of the gain) after a trial whose mean gain has the variance `noise`."""
    sd = np.maximum(variance, 1e-12) / np.sqrt(np.maximum(variance, 1e-12) + noise)
    ratio = mean / sd
    density = np.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi)
    return np.asarray(sd * density + mean * ndtr(ratio))


def effect(mean: float, sd: float) -> Effect:
    gain = NormalDist(mean, sd)
    return Effect(
        gain=mean,
        low=mean - _INTERVAL * sd,
        high=mean + _INTERVAL * sd,
        better=1 - gain.cdf(0.0),
        worse=gain.cdf(-WORSE_BY),
    )


def objections(effect: Effect, goals: Goals, trial: Paired | None, judged: Judged | None) -> list[str]:
    """Why no person is asked for a change; none where one is. `trial` None: it was not to be tried."""
    found = []
    if effect.better < ASK_FROM:
        found.append(f"it is better with a probability of {effect.better:.2f} only, {ASK_FROM} is asked for")
    if effect.gain < goals.minimum_gain:
        found.append(f"it is expected to gain {effect.gain:.3f}, at least {goals.minimum_gain} is asked for")
    if effect.worse > goals.risk:
        found.append(
            f"it is worse by {WORSE_BY} with a probability of {effect.worse:.2f}, {goals.risk} is allowed"
        )
    if trial is not None and trial.gain.n == 0:
        found.append("no task was measured both under it and under the present settings")
    if trial is not None and trial.failed > trial.failed_present:
        found.append(
            f"{trial.failed} tasks failed under it, {trial.failed_present} under the present settings"
        )
    if judged is not None and not judged.muted and judged.losses > judged.wins:
        found.append(
            f"the judge found its answers worse {judged.losses} times and better {judged.wins} times"
        )
    return found
