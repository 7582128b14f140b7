"""The Gaussian processes behind a proposal: rows of observations in, the gain of candidates out.

One process for dissonance and one for cost, which is nearly a function of the turns. Each sees the mean of a
row, and what makes rows differ without any change of the settings: the scatter of tasks, what tasks of one
batch share, what other prompts or models do to all.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
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

# In units of the cube.
_LENGTH = 0.5
# By how much of the signal's variance a row is less certain for every batch since: what is best wanders.
_AGEING = 0.005
# Of the logarithm of the signal's variance: the standard deviation of its prior, and how far to look.
_SIGNAL_SD, _SIGNAL_RANGE = 1.0, 2.5
_FIT_ITERATIONS = 8
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
    """Matern 5/2 (Rasmussen and Williams 2006, 4.17), half additive over the keys and half joint.

    Additive halves learn a ridge from fewer rows (Duvenaud, Nickisch, Rasmussen 2011). `keys`: of each
    column, the number of its key. The last column of a point is the number of its row, or -1; rows have in
    common what `shared` says, shape (rows, rows).
    """

    def __init__(self, variance: float, keys: Array, shared: Array) -> None:
        self.variance, self.keys, self.shared = variance, keys, shared

    @property
    def hyperparameter_variance(self) -> Hyperparameter:
        return Hyperparameter("variance", "numeric", (1e-6, 1e6))

    def __call__(self, x: Array, y: Array | None = None) -> Array:
        y = x if y is None else y
        # Most rows are of the present settings: each pair of values is looked at once.
        ours, row = np.unique(x[:, :-1], axis=0, return_inverse=True)
        theirs, column = np.unique(y[:, :-1], axis=0, return_inverse=True)
        apart = self._squared(ours, theirs) / _LENGTH**2
        root = np.sqrt(5.0 * np.concatenate([apart, apart.sum(0)[None]]))
        matern = (1.0 + root + root * root / 3.0) * np.exp(-root)
        signal = self.variance * (0.5 * matern[:-1].mean(0) + 0.5 * matern[-1])
        return np.asarray(signal[np.ix_(row, column)] + self._nuisance(x, y))

    def diag(self, x: Array) -> Array:
        rows = x[:, -1].astype(int)
        return self.variance + np.where(rows >= 0, self.shared[rows, rows], 0.0)

    def is_stationary(self) -> bool:
        return False

    def _squared(self, x: Array, y: Array) -> Array:
        """Squared distances by key, shape (keys, x, y)."""
        apart = np.square(x[:, None] - y[None])
        return np.stack([apart[:, :, self.keys == key].sum(-1) for key in range(int(self.keys[-1]) + 1)])

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
        kernel = SettingsKernel(signal / squared, space.keys, shared / squared)
        self._regressor = GaussianProcessRegressor(
            kernel,
            alpha=own / squared + _JITTER,
            optimizer=_fit(signal / squared) if len(y) >= FIT_FROM_ROWS else None,
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


def _fit(signal: float) -> Callable[..., tuple[Array, float]]:
    """The optimizer that the regressor calls: the variance of the signal, maximum a posteriori.

    Lengths stay: fitted ones, with a log-normal prior, predicted no better on 25 to 190 rows.
    """

    def fit(objective: Callable[..., float], start: Array, bounds: Array) -> tuple[Array, float]:
        def penalised(log_variance: float) -> float:
            theta = np.append(start[:-1], log_variance)
            off = (log_variance - math.log(signal)) / _SIGNAL_SD
            return float(objective(theta, eval_gradient=False)) + 0.5 * off * off

        found = minimize_scalar(
            penalised,
            bounds=(start[-1] - _SIGNAL_RANGE, start[-1] + _SIGNAL_RANGE),
            method="bounded",
            options={"maxiter": _FIT_ITERATIONS, "xatol": 0.1},
        )
        return np.append(start[:-1], found.x), float(found.fun)

    return fit
