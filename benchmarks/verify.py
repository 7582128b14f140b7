"""What the verification gets right: how often it claims, keeps or stops a change, by what the change does.

Simulated blocks of two tasks, decided by the image's own code (optimizer/verdict.py), block by block. The
loss of a task has a standard deviation of .15; a part of that is its type, of which there are three.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from messages.trials import Effect, Moments
from messages.verification import Verdict
from optimizer.space import Array
from optimizer.task_types import type_effects
from optimizer.verdict import LOOKS, USUAL, Watch, difference, levels, normal_posterior, p_value
from testbed.group_sequential import obrien_fleming

RUNS = 20_000
"""For each figure; the whole watch takes longer, and has half of them."""
SD = 0.15
EFFECTS = {"question": 0.0, "essay": 0.08, "code": -0.08}
SHARED = 0.5
"""The part of a task's variance that stays where it is argued once more under other settings."""
SEEN = 120
"""How many tasks, of three windows, the effects of the types are estimated from."""
LOSS = 0.45

GAINS = (0.0, 0.03, 0.05, 0.08, 0.12)
ALL_GAINS = (*(-gain for gain in reversed(GAINS[1:])), *GAINS)
CAP = 40
SURE = Effect(gain=0.03, low=-0.02, high=0.08, better=0.84, worse=0.0)
"""What a change is about expected to do that passes the gate, which asks for .8."""
EXPECTED = {"gain .03, .84 to be better": SURE, "gain 0, -.1 to .1 (nobody knows)": USUAL}
VERDICTS = tuple(verdict for verdict in get_args(Verdict) if verdict != "superseded")

FAILING = ((0.05, 0.05), (0.2, 0.2), (0.05, 0.15), (0.05, 0.3))
"""How often tasks fail under the old and under the new settings."""


@dataclass(frozen=True)
class Design:
    """When the t test looks, and at what.

    effects: what is known of the types of task. replayed: the same task in both arms.
    """

    name: str
    looks: tuple[int, ...]
    effects: Literal["none", "known", "estimated"]
    replayed: bool = False

    def bounds(self) -> Mapping[int, float]:
        """The level of each look: the image's own, where it looks at the same shares."""
        shares = tuple(look / self.looks[-1] for look in self.looks)
        if shares == LOOKS:
            return levels(self.looks[-1])
        return dict(zip(self.looks, obrien_fleming(shares), strict=True))


AS_IT_IS = Design("10, 20, 30, 40 blocks, effects of types estimated", (10, 20, 30, 40), "estimated")
DESIGNS = (
    Design("10, 20, 30, 40 blocks", (10, 20, 30, 40), "none"),
    Design("10, 20, 30, 40 blocks, effects of types known", (10, 20, 30, 40), "known"),
    AS_IT_IS,
    Design("20, 40, 60 blocks, effects of types known", (20, 40, 60), "known"),
    Design("20, 40, 60 blocks, effects of types estimated", (20, 40, 60), "estimated"),
    Design("10, 20, 29 pairs, the same task in both arms", (10, 20, 29), "none", replayed=True),
)
Shares = dict[float, float]
"""By true gain."""


def differences(design: Design, gain: float, runs: int) -> Iterator[list[float]]:
    """The D of each run. The same chance for every gain."""
    generator = np.random.default_rng(DESIGNS.index(design))
    shape = (2, runs, design.looks[-1])
    types = generator.integers(len(EFFECTS), size=shape)
    common = 0.0
    if design.replayed:
        types[1] = types[0]
        common = SHARED * SD**2 - _ADDED.var()
    losses = _losses(types, common, generator) + generator.normal(0, np.sqrt(common), shape[1:])
    losses[1] -= gain
    for run, effects in enumerate(_effects(design, runs)):
        taken_out = np.array([effects.get(name, 0.0) for name in EFFECTS])
        old, new = (losses[:, run] - taken_out[types[:, run]]).tolist()
        yield [difference(*block) for block in zip(old, new, strict=True)]


_ADDED = np.array([*EFFECTS.values()])


def _losses(types: NDArray[np.int64], common: float, generator: np.random.Generator) -> Array:
    """By the types; what of the variance is neither theirs nor `common` is each task's own."""
    own = SD**2 - _ADDED.var() - common
    return np.asarray(LOSS + _ADDED[types] + generator.normal(0, np.sqrt(own), types.shape))


def _effects(design: Design, runs: int) -> Iterable[Mapping[str, float]]:
    if design.effects == "estimated":
        return estimates(runs)
    return [EFFECTS if design.effects == "known" else {}] * runs


@cache
def estimates(runs: int) -> list[dict[str, float]]:
    """Of the effects of the types, as the image makes them, for each run from tasks of before."""
    generator = np.random.default_rng(len(DESIGNS))
    types = generator.integers(len(EFFECTS), size=(runs, SEEN))
    names, found = [*EFFECTS], []
    for tasks in zip(types.tolist(), _losses(types, 0.0, generator).tolist(), strict=True):
        row: dict[str, Moments] = {}
        for number, loss in zip(*tasks, strict=True):
            row.setdefault(names[number], Moments()).add(loss)
        found.append(type_effects([row]))
    return found


def is_claimed(found: Iterable[float], bounds: Mapping[int, float]) -> bool:
    """Whether the t test claims an improvement at one of its looks, and nothing else ends the watch."""
    seen = Moments()
    for one in found:
        seen.add(one)
        if seen.n in bounds and p_value(seen) <= bounds[seen.n]:
            return True
    return False


def power(design: Design, runs: int) -> Shares:
    bounds = design.bounds()
    return {
        gain: sum(is_claimed(found, bounds) for found in differences(design, gain, runs)) / runs
        for gain in GAINS
    }


@dataclass(frozen=True)
class Ends:
    """How watches over one true gain have ended: the share of each verdict, and after how many blocks."""

    shares: Mapping[Verdict, float]
    blocks: float


def watched(expected: Effect, gain: float, runs: int) -> Ends:
    """The whole watch: harm, looks and posterior."""
    posterior, verdicts, blocks = normal_posterior(expected), Counter[Verdict](), list[int]()
    for found in differences(AS_IT_IS, gain, runs):
        watch = Watch(cap=CAP)
        for one in found:
            if verdict := watch.add(one, posterior):
                verdicts[verdict] += 1
                break
        blocks.append(watch.differences.n)
    return Ends({verdict: count / runs for verdict, count in verdicts.items()}, median(blocks))


def stopped_by_failures(old: float, new: float, runs: int) -> float:
    """The share of watches that failures end as harmful within the cap."""
    failed = np.random.default_rng(0).random((runs, CAP, 2)) < (old, new)
    return sum(_is_stopped(run) for run in failed.tolist()) / runs


def _is_stopped(blocks: Sequence[tuple[bool, bool]]) -> bool:
    watch = Watch(cap=CAP)
    return any(old != new and watch.guard("failures", -1.0 if new else 1.0) for old, new in blocks)


def show_power(found: Mapping[str, Shares]) -> None:
    table = _table('The t test alone: share that claims "improved"', "design", *_signed(GAINS))
    for name, shares in found.items():
        table.add_row(name, *(f"{share:.3f}" for share in shares.values()))
    Console(width=200).print(table)


def show_ends(name: str, found: Mapping[float, Ends]) -> None:
    table = _table(f"The whole watch, expected: {name}", "true gain", *VERDICTS, "median blocks")
    for gain, ends in found.items():
        shares = (f"{ends.shares.get(verdict, 0.0):.3f}" for verdict in VERDICTS)
        table.add_row(f"{gain:+.2f}", *shares, f"{ends.blocks:g}")
    Console(width=200).print(table)


def show_failures(runs: int) -> None:
    table = _table(f"Ended by failures within {CAP} blocks", "fail, old", "fail, new", "harmful")
    for old, new in FAILING:
        table.add_row(f"{old:g}", f"{new:g}", f"{stopped_by_failures(old, new, runs):.3f}")
    Console(width=200).print(table)


def plot(claims: Mapping[str, Shares], ends: Mapping[str, Mapping[float, Ends]], file: Path) -> None:
    """Power against true gain; and beside it the verdicts of the whole watch."""
    from matplotlib import pyplot  # noqa: PLC0415 (takes a second, and is seldom asked for)

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5), sharey=True)
    for name, shares in claims.items():
        left.plot([*shares], [*shares.values()], marker="o", label=name)
    left.axhline(0.05, color="grey", linestyle=":", linewidth=1)
    left.set_title('the t test alone claims "improved"')
    name, found = next(iter(ends.items()))
    for verdict in VERDICTS:
        right.plot(
            [*found], [one.shares.get(verdict, 0.0) for one in found.values()], marker="o", label=verdict
        )
    right.set_title(f"verdicts of the whole watch, expected: {name}", fontsize=10)
    left.set_ylabel("share of runs")
    for axis in (left, right):
        axis.set_xlabel("true gain of a task's loss")
        axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=80)


def _table(title: str, *heads: str) -> Table:
    """One that a page takes as it is."""
    return Table(*heads, title=title, box=box.MARKDOWN, title_justify="left")


def _signed(gains: Sequence[float]) -> Iterator[str]:
    return (f"{gain:+.2f}" if gain else "0" for gain in gains)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"for each figure ({RUNS})")
    parser.add_argument("--plot", type=Path, help="draw power against true gain into this file")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("--runs: at least 1")
    began = time.perf_counter()
    claims = {design.name: power(design, arguments.runs) for design in DESIGNS}
    show_power(claims)
    ends = {
        name: {gain: watched(expected, gain, (arguments.runs + 1) // 2) for gain in ALL_GAINS}
        for name, expected in EXPECTED.items()
    }
    for name, found in ends.items():
        show_ends(name, found)
    show_failures(arguments.runs)
    if arguments.plot:
        plot(claims, ends, arguments.plot)
    seconds = time.perf_counter() - began
    print(f"{arguments.runs:,} runs for each figure, half of them of the whole watch, {seconds:.0f} s")
