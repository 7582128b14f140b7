"""A figure of arguments over time, one by one and in the mean, and how they ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from desk.plots.pictures import BAND, INK, MARK, PAPER, QUIET, Picture, count, days, shown, time_axis
from messages.trials import Moments

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

    from messages.trials import Observation
    from optimizer.goals import Goals

MOST_AROUND = 41
MOST_KNOTS = 200
LATEST = 20
MOST_BARS = 12
LOOKS: dict[str, dict[str, Any]] = {
    "converged": {"color": INK},
    "max_turns": {"color": BAND, "hatch": "///"},
    "failed": {"color": MARK, "hatch": "xxx"},
}
"""How each outcome is drawn: they differ without colours, too."""


class Mean(NamedTuple):
    """The mean of n arguments and its standard error."""

    n: int
    mean: float
    error: float


Batches = Sequence[tuple[datetime, Mean]]
"""Means of arguments, each with the moment at which the first of them ended."""


def over_time(
    title: str,
    unit: str,
    points: Sequence[tuple[datetime, float]],
    older: Batches = (),
    amended: Sequence[datetime] = (),
) -> Picture:
    """Points in order of time with their moving mean, means of batches, and when settings were amended."""
    values = np.array([value for _, value in points])
    width = around(len(values))

    def draw(ax: Axes) -> None:
        when = [days(at) for at, _ in points]
        if width:
            at = np.unique(np.linspace(0, len(values) - 1, MOST_KNOTS, dtype=int))
            mean, error = moving(values, width, at)
            ax.fill_between(np.take(when, at), mean - 2 * error, mean + 2 * error, color=BAND, linewidth=0)
            ax.plot(np.take(when, at), mean, color=INK, linewidth=1.5, zorder=3)
        ax.plot(when, values, ".", color=QUIET, markersize=3, markeredgewidth=0)
        if older:
            told = [(days(since), each.mean, 2 * each.error) for since, each in older]
            began, means, errors = np.transpose(told)
            ax.errorbar(began, means, yerr=errors, fmt="s", color=INK, mfc=PAPER, capsize=3)
        for moment in amended:
            ax.axvline(days(moment), color=MARK, linewidth=1, linestyle="--")
        times = [*(at for at, _ in points), *(since for since, _ in older), *amended]
        time_axis(ax, min(times), max(times))
        ax.set_ylabel(unit)

    return Picture(title, _told(values, width, older, amended), draw)


def around(n: int) -> int:
    """Over how many arguments a moving mean of n goes: an odd number; 0 where there are too few."""
    return 0 if n < 5 else min(MOST_AROUND, max(5, n // 10)) // 2 * 2 + 1


def moving(values: Floats, width: int, at: NDArray[np.int_]) -> tuple[Floats, Floats]:
    """The mean of the values around some of them and its standard error; at the ends of fewer."""
    half = width // 2
    windows = [values[max(0, n - half) : n + half + 1] for n in at]
    mean = np.array([window.mean() for window in windows])
    error = np.array([window.std(ddof=1) / np.sqrt(len(window)) for window in windows])
    return mean, error


def _told(values: Floats, width: int, older: Batches, amended: Sequence[datetime]) -> str:
    told = []
    if len(values):
        told.append(f"{count(len(values))}, one dot each: mean {shown(values.mean())}")
        if len(values) > LATEST:
            told[-1] += f", of the latest {LATEST} {shown(values[-LATEST:].mean())}"
    if width:
        told.append(f"Line: the mean of up to {width} around each; band: two standard errors on both sides")
    if older:
        n, batches = sum(each.n for _, each in older), count(len(older), "batch", "batches")
        earlier = " that began earlier" if len(values) else ""
        told.append(f"Squares: means of {batches}{earlier} with two standard errors, {count(n)} in all")
    if amended:
        told.append("Dashed: settings amended")
    return ". ".join(told) + "."


# --- the table of observations ---


def dated(rows: Sequence[Observation], mean_of: Callable[[Observation], Mean | None]) -> Batches:
    """A figure of rows of observations, of those that tell it and when they began."""
    return [(row.since, mean) for row in rows if row.since and (mean := mean_of(row))]


def loss_of(row: Observation, goals: Goals) -> Mean | None:
    """The mean loss of a row, and the error of its dissonance alone. None where none was measured."""
    dissonance, tokens = together(row.dissonance), together(row.tokens)
    if dissonance is None or tokens is None:
        return None
    return dissonance._replace(mean=goals.loss(dissonance.mean, tokens.mean))


def together(figures: Mapping[str, Moments]) -> Mean | None:
    """One figure of a row over all types of task."""
    total = Moments()
    for each in figures.values():
        total.merge(each)
    return Mean(total.n, total.mean, float(np.sqrt((total.variance or 0.0) / total.n))) if total.n else None


# --- outcomes ---


def outcomes(ended: Sequence[tuple[datetime, str]]) -> Picture:
    """How arguments ended, in spans of equal length."""
    totals = {name: sum(outcome == name for _, outcome in ended) for name in LOOKS}

    def draw(ax: Axes) -> None:
        times = np.array([days(at) for at, _ in ended])
        edges = np.histogram_bin_edges(times, bins=min(MOST_BARS, len(ended)))
        below = np.zeros(len(edges) - 1)
        for name, look in LOOKS.items():
            of_it = [outcome == name for _, outcome in ended]
            counted, _ = np.histogram(times[of_it], edges)
            where, wide = (edges[:-1] + edges[1:]) / 2, np.diff(edges) * 0.9
            ax.bar(where, counted, wide, below, label=name, edgecolor=INK, linewidth=0.5, **look)
            below += counted
        first, *_, last = sorted(at for at, _ in [*ended, *ended])
        time_axis(ax, first, last)
        ax.set_ylabel("arguments")
        ax.locator_params(axis="y", integer=True)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3, frameon=False)

    parts = ", ".join(f"{n:,} {name}" for name, n in totals.items())
    return Picture("How arguments ended", f"Of {count(len(ended))}: {parts}.", draw)
