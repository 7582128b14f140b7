"""The first round of trials: mixtures of many moves, each replay of which tells of all keys at once.

A screening design, as where many factors are looked at in few runs (Box, Hunter and Hunter 2005, chapter 6).
A mixture is tried, never asked for, so more keys move in it, and further, than in what a person is asked for:
what a key does shows above the scatter of tasks where it moves far.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from configuration import Value
from messages.trials import Candidate
from optimizer.candidates import measured, noise_of_a_trial, safe
from optimizer.goals import Goals
from optimizer.space import Array, Space, Values
from optimizer.surrogate import Surrogate

MIXTURES = 5
"""In the first round, each on a few tasks."""

FAR = 3
"""In declared steps: how far a mixture moves a number at most."""

_DRAWN = 300
# The share of the keys that a mixture moves.
_MOVED = 0.85
# The nodes and weights of Gauss and Hermite, for the mean over what a trial may come to.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)


def mixtures(
    space: Space, present: Mapping[str, Value], keys: Iterable[str], generator: np.random.Generator
) -> list[Candidate]:
    """In which most of the keys move, and the others stay."""
    every = space.moves(present, FAR)
    moves = {key: every[key] for key in keys if every[key]}
    drawn: list[Values] = []
    for _ in range(_DRAWN):
        values: Values = {}
        for key, found in moves.items():
            if generator.random() < _MOVED:
                values[key] = found[int(generator.integers(len(found)))]
        if values and values not in drawn:
            drawn.append(values)
    return [
        Candidate(values=values, source="surrogate" if space.is_step(values, present) else "screening")
        for values in drawn
    ]


def screen(
    surrogate: Surrogate,
    mixed: Sequence[Candidate],
    offered: Sequence[Candidate],
    goals: Goals,
    tasks: int,
) -> list[Candidate]:
    """The mixtures that tell most of what is offered, each given that those before it are tried.

    The score is the knowledge gradient with correlated beliefs (Frazier, Powell, Dayanik 2009): what the best
    of all that is offered is expected to gain from so many tasks of this one. The risk cap is for what is
    offered: no person's task runs under a mixture.
    """
    mean, covariance = surrogate.gains([one.values for one in (*mixed, *offered)])
    within = safe(mean, covariance, goals)
    arms, ends = len(mixed), within[within >= len(mixed)]
    noise = noise_of_a_trial(surrogate, tasks)
    chosen: list[int] = []
    for _ in range(min(MIXTURES, arms)):
        told = covariance[ends, :arms] / np.sqrt(covariance.diagonal()[:arms] + noise)
        score = _best_expected(mean[ends], told)
        score[chosen] = -np.inf
        one = int(score.argmax())
        chosen.append(one)
        covariance = covariance - np.outer(covariance[one], covariance[one]) / (covariance[one, one] + noise)
    return measured(surrogate, [mixed[number] for number in chosen])


def _best_expected(mean: Array, told: Array) -> Array:
    """E max(0, every posterior mean), by the trial; `told`: how far each moves each, shape (ends, arms)."""
    score = np.zeros(told.shape[1])
    for node, weight in zip(_NODES, _WEIGHTS / _WEIGHTS.sum(), strict=True):
        score += weight * (mean[:, None] + told * node).max(axis=0, initial=0.0)
    return score
