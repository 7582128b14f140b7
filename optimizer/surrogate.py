"""The Gaussian processes behind a proposal: rows of observations in, the gain of candidates out.

One process for dissonance and one for cost, which is nearly a function of the turns. Each sees the mean of a
row, and what makes rows differ without any change of the settings: the scatter of tasks, what tasks of one
batch share, what other prompts or models do to all.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from configuration import Value
from messages.trials import Moments, Observation
from optimizer.goals import Goals
from optimizer.space import Array, Space, Values
from optimizer.task_types import corrected_mean, type_effects

MOST_ROWS = 200
"""A fit takes the cube of them: some seconds at 200."""
FIT_FROM_ROWS = 10
"""Below, how much the settings do cannot be told from noise."""

# Half of the scatter of tasks is the task's own, and arms of a trial argue the same tasks.
SHARED_BY_ARMS = 0.5

# Priors of a key's length, in units of the cube, and of the signal's variance; the spreads are of logarithms.
_LENGTH, _LENGTH_SD = 0.5, 0.8
_SIGNAL_SD = 1.0
# Of a key's curvature over its bounds, in units of the signal's variance; as much again is common to all.
_CURVATURE = 0.4
# How far from these priors to look, as a logarithm.
_RANGE = 2.5
_FIT_ITERATIONS = 12
# By how much of the signal's variance a row is less certain for every batch since: what is best wanders, and
# the fit may be too sure that there is nothing to gain. With a quarter of it the search ends too early.
_AGEING = 0.02
# The variance of three tasks is noise, so all rows have one together; its prior counts as so many tasks.
_WITHIN_WEIGHT = 10
_JITTER = 1e-9


@dataclass(frozen=True)
class Variances:
    """What is expected of a figure before anything is known, as variances.

    signal              of what the settings do to it
    within              of tasks of one type under the same settings
    batch               of what all tasks of one batch share, without any change of the settings
    conditions          of what other prompts, models or programs do under all settings alike
    conditions_each     and of what they do under each
    """

    signal: float
    within: float
    batch: float
    conditions: float
    conditions_each: float

    @classmethod
    def of_cost(cls, level: float) -> "Variances":
        """A cost is nearly a function of the settings: all in shares of its mean."""
        shares = (0.5, 0.3, 0.05, 0.3, 0.15)
        return cls(*(max(share * level, _JITTER) ** 2 for share in shares))


DISSONANCE = Variances(signal=0.016, within=0.02, batch=0.03**2, conditions=0.1**2, conditions_each=0.05**2)


class SettingsKernel(Kernel):  # type: ignore[misc]
    """Matern 5/2 (Rasmussen and Williams 2006, 4.17), half additive over the keys, half joint, and a trend.

    Additive halves learn a ridge from fewer rows (Duvenaud, Nickisch, Rasmussen 2011). The trend is a
    parabola along each number, with weights that nothing is known of (the same book, 2.7): whether it gets
    worse towards the bounds is learnt from all rows at once. `lengths`: of each key, in units of the cube.
    `keys`: of each column, the number of its key. The last column of a point is the number of its row, or -1;
    rows have in common what `shared` says, shape (rows, rows).
    """

    def __init__(self, lengths: Array, variance: float, keys: Array, shared: Array) -> None:
        self.lengths, self.variance, self.keys, self.shared = lengths, variance, keys, shared

    @property
    def hyperparameter_lengths(self) -> Hyperparameter:
        return Hyperparameter("lengths", "numeric", (1e-6, 1e6), n_elements=int(self.keys[-1]) + 1)

    @property
    def hyperparameter_variance(self) -> Hyperparameter:
        return Hyperparameter("variance", "numeric", (1e-6, 1e6))

    def __call__(self, x: Array, y: Array | None = None, eval_gradient: bool = False) -> Any:
        """Covariances, shape (x, y), and if asked for, their gradient, shape (x, y, logarithms)."""
        y = x if y is None else y
        # Most rows are of the present settings: each pair of values is looked at once.
        ours, row = np.unique(x[:, :-1], axis=0, return_inverse=True)
        theirs, column = np.unique(y[:, :-1], axis=0, return_inverse=True)
        apart = self._squared(ours, theirs)
        root = np.sqrt(5.0 * np.concatenate([apart, apart.sum(0)[None]]))
        falls = np.exp(-root)
        matern = (1.0 + root + root * root / 3.0) * falls
        bowls, others = self._parabolas(ours), self._parabolas(theirs)
        trend = _CURVATURE * (bowls @ others.T + np.outer(bowls.sum(1), others.sum(1)))
        signal = self.variance * (0.5 * matern[:-1].mean(0) + 0.5 * matern[-1] + trend)
        pairs = np.ix_(row, column)
        covariance = signal[pairs] + self._nuisance(x, y)
        if not eval_gradient:
            return np.asarray(covariance)
        # By the logarithm of each length, then of the variance, as the regressor orders them.
        slope = 5.0 / 3.0 * (1.0 + root) * falls
        by_length = 0.5 * self.variance * apart * (slope[:-1] / len(apart) + slope[-1])
        return covariance, np.stack([one[pairs] for one in (*by_length, signal)], axis=-1)

    def diag(self, x: Array) -> Array:
        rows, bowls = x[:, -1].astype(int), self._parabolas(x[:, :-1])
        trend = _CURVATURE * (np.square(bowls).sum(1) + bowls.sum(1) ** 2)
        own = self.variance * (1.0 + trend) + np.where(rows >= 0, self.shared[rows, rows], 0.0)
        return np.asarray(own)

    def is_stationary(self) -> bool:
        return False

    def _squared(self, x: Array, y: Array) -> Array:
        """Squared distances by key, in lengths, shape (keys, x, y)."""
        apart = np.square(x[:, None] - y[None])
        lengths = np.atleast_1d(self.lengths)
        return np.stack(
            [apart[:, :, self.keys == key].sum(-1) / length**2 for key, length in enumerate(lengths)]
        )

    def _parabolas(self, x: Array) -> Array:
        """Of each number, its parabola with mean 0 over the cube, shape (x, numbers)."""
        alone = np.bincount(self.keys.astype(int))[self.keys.astype(int)] == 1  # a choice has several columns
        return np.asarray(np.square(2.0 * x[:, alone] - 1.0) - 1.0 / 3.0)

    def _nuisance(self, x: Array, y: Array) -> Array:
        rows, columns = x[:, -1].astype(int), y[:, -1].astype(int)
        known = (rows >= 0)[:, None] & (columns >= 0)[None, :]
        return np.where(known, self.shared[np.ix_(rows, columns)], 0.0)


@dataclass(frozen=True)
class Rows:
    """What both processes see of the table: points of the cube, and which rows have something in common.

    `stale`: of other conditions than the present ones. `paired`: all of the batch argued the same tasks.
    """

    points: Array
    batch: Array
    conditions: Array
    stale: Array
    paired: Array


class Process:
    """One Gaussian process over the settings, for one figure."""

    def __init__(
        self,
        space: Space,
        rows: Rows,
        figures: Sequence[Mapping[str, Moments]],
        before: Variances,
    ) -> None:
        effects = type_effects(figures)
        y = np.array([corrected_mean(figure, effects) for figure in figures])
        n = np.array([sum(one.n for one in figure.values()) for figure in figures])
        self.within = _pooled(figures, before.within)
        own, shared = _noise(rows, self.within, n, before)
        signal = before.signal
        # normalize_y would leave `alpha` and the nuisances in other units than y.
        self._scale = float(y.std()) or math.sqrt(signal)
        squared = self._scale**2
        lengths = np.full(len(space.tunables), _LENGTH)
        kernel = SettingsKernel(lengths, signal / squared, space.keys, shared / squared)
        self._regressor = GaussianProcessRegressor(
            kernel,
            alpha=own / squared + _JITTER,
            optimizer=_fit if len(y) >= FIT_FROM_ROWS else None,
        )
        x = np.column_stack([rows.points, np.arange(len(y))])
        self._regressor.fit(x, (y - np.average(y, weights=n)) / self._scale)

    def joint(self, points: Array) -> tuple[Array, Array]:
        """Posterior mean, up to a constant, and covariance at points of the cube."""
        new = np.column_stack([points, np.full(len(points), -1.0)])
        mean, covariance = self._regressor.predict(new, return_cov=True)
        return mean * self._scale, covariance * self._scale**2

    def mean(self, points: Array) -> Array:
        new = np.column_stack([points, np.full(len(points), -1.0)])
        return np.asarray(self._regressor.predict(new)) * self._scale


class Surrogate:
    """What the table says about the loss of any values, relative to the present ones.

    `conditions`: the present ones. At least one row has to be measured.
    """

    def __init__(
        self,
        space: Space,
        goals: Goals,
        present: Mapping[str, Value],
        observations: Iterable[Observation],
        *,
        conditions: str = "",
    ) -> None:
        self.space, self.present = space, present
        told = sorted((row for row in observations if tasks(row)), key=lambda row: row.batch)[-MOST_ROWS:]
        rows = _rows(space, present, told, conditions)
        costs = [_priced(row.tokens, goals) for row in told]
        level = sum(tasks(row) * corrected_mean(cost, {}) for row, cost in zip(told, costs, strict=True))
        level /= sum(tasks(row) for row in told)
        self._dissonance = Process(space, rows, [row.dissonance for row in told], DISSONANCE)
        self._cost = Process(space, rows, costs, Variances.of_cost(level))
        self.within = self._dissonance.within + self._cost.within

    def gains(self, candidates: Sequence[Values]) -> tuple[Array, Array]:
        """Mean and covariance of present loss - loss, from the joint posterior of the present and all."""
        points = self.space.encode([self.present, *candidates], self.present)
        mean = np.zeros(len(candidates))
        covariance = _JITTER * np.eye(len(candidates))
        for process in (self._dissonance, self._cost):
            at, joint = process.joint(points)
            mean += at[0] - at[1:]
            covariance += joint[0, 0] + joint[1:, 1:] - joint[:1, 1:] - joint[1:, :1]
        return mean, covariance

    def losses(self, values: Sequence[Values]) -> Array:
        """Expected loss, up to a constant."""
        points = self.space.encode(values, self.present)
        return self._dissonance.mean(points) + self._cost.mean(points)


def tasks(row: Observation) -> int:
    """How many measured ones a row has, of which it is also known what they cost."""
    return min(sum(one.n for one in figure.values()) for figure in (row.dissonance, row.tokens))


def _rows(
    space: Space,
    present: Mapping[str, Value],
    told: Sequence[Observation],
    conditions: str,
) -> Rows:
    names = list(dict.fromkeys(row.conditions for row in told))
    return Rows(
        points=space.encode([row.values for row in told], present),
        batch=np.array([row.batch for row in told]),
        conditions=np.array([names.index(row.conditions) for row in told]),
        stale=np.array([row.conditions != conditions for row in told]),
        paired=np.array([row.paired for row in told]),
    )


def _priced(tokens: Mapping[str, Moments], goals: Goals) -> dict[str, Moments]:
    unit = goals.price(1.0)
    return {
        name: Moments(n=one.n, mean=one.mean * unit, m2=one.m2 * unit * unit)
        for name, one in tokens.items()
        if one.n
    }


def _pooled(figures: Iterable[Mapping[str, Moments]], prior: float) -> float:
    told = [one for figure in figures for one in figure.values() if one.n > 1]
    freedom = sum(one.n - 1 for one in told)
    return (sum(one.m2 for one in told) + _WITHIN_WEIGHT * prior) / (freedom + _WITHIN_WEIGHT)


def _noise(rows: Rows, within: float, n: Array, before: Variances) -> tuple[Array, Array]:
    """Of each row its own variance, shape (rows,), and what rows have in common, shape (rows, rows)."""
    of_tasks = within / n
    of_arms = np.where(rows.paired, SHARED_BY_ARMS * of_tasks, 0.0)
    together = np.sqrt(before.batch + of_arms)
    shared = np.outer(together, together) * (rows.batch[:, None] == rows.batch[None, :])
    shared += before.conditions * (rows.conditions[:, None] == rows.conditions[None, :])
    aged = _AGEING * before.signal * (rows.batch.max() - rows.batch)
    return of_tasks - of_arms + before.conditions_each * rows.stale + aged, shared


def _fit(objective: Callable[..., tuple[float, Array]], prior: Array, bounds: Array) -> tuple[Array, float]:
    """The optimizer that the regressor calls: lengths and the variance of the signal, maximum a posteriori.

    `prior`: the logarithms that the kernel begins with, the medians of log-normal priors.
    """
    spread = np.append(np.full(len(prior) - 1, _LENGTH_SD), _SIGNAL_SD)

    def penalised(theta: Array) -> tuple[float, Array]:
        loss, gradient = objective(theta)
        off = (theta - prior) / spread
        return float(loss) + 0.5 * float(off @ off), gradient + off / spread

    found = minimize(
        penalised,
        prior,
        jac=True,
        bounds=[(one - _RANGE, one + _RANGE) for one in prior],
        method="L-BFGS-B",
        options={"maxiter": _FIT_ITERATIONS},
    )
    return found.x, float(found.fun)
