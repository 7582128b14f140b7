"""Gains: what was expected and what was found, by looks and by trials; and plain quantities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from desk.plots.pictures import INK, PAPER, QUIET, Picture, no_difference, short
from messages.verification import VERDICTS
from optimizer.paired import Paired, paired

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from messages.trials import Round
    from messages.verification import VerificationView
    from optimizer.goals import Goals

MOST_ROWS = 12
"""What stands below each other in a small picture, and can be read."""


class Gain(NamedTuple):
    """How much lower the loss of a task is, with an interval of 90%. `expected`: it was not found yet."""

    label: str
    gain: float
    low: float
    high: float
    expected: bool = False


def effects(title: str, told: str, gains: Sequence[Gain]) -> Picture:
    """Gains with their intervals, one below the other; hollow where they were only expected."""

    def draw(ax: Axes) -> None:
        no_difference(ax, upright=True)
        for y, (_, gain, low, high, expected) in enumerate(gains):
            error = [[gain - low], [high - gain]]
            face = PAPER if expected else INK
            ax.errorbar([gain], [y], xerr=error, fmt="o", capsize=4, color=INK, mfc=face)
        ax.set_yticks(range(len(gains)), [short(each.label) for each in gains])
        ax.set_ylim(len(gains) - 0.4, -0.6)
        ax.set_xlabel("gain, with its interval of 90%")

    return Picture(title, told, draw)


def looks(of: VerificationView) -> Picture:
    """The gain with its interval at each look, and hollow as it is now where that is later."""
    passed = [(look.blocks, look.gain, look.low, look.high) for look in of.looks]
    now = []
    if (
        of.effect is not None
        and of.interval is not None
        and of.blocks not in [blocks for blocks, *_ in passed]
    ):
        now = [(of.blocks, of.effect, *of.interval)]

    def draw(ax: Axes) -> None:
        for points, face in ((passed, INK), (now, PAPER)):
            if points:
                blocks, gain, low, high = np.transpose(points)
                error = [gain - low, high - gain]
                ax.errorbar(blocks, gain, yerr=error, fmt="o", capsize=4, color=INK, mfc=face)
        for to_come in of.looks_to_come:
            ax.axvline(to_come, color=QUIET, linewidth=1, linestyle=":")
        no_difference(ax, upright=False)
        ax.set_xlim(0, of.cap + 1)
        ax.set_xticks([0, *of.levels])
        ax.set_xlabel("blocks of two tasks; hollow: now; dotted: looks to come")
        ax.set_ylabel("gain, 90% interval")

    verdict = VERDICTS[of.verdict] if of.verdict else "no verdict yet"
    return Picture(f"Verified: {verdict}", of.standing, draw)


def trials(number: int, tried: Round, goals: Goals) -> Picture:
    """The loss of each task under the present settings and each candidate, a line for a task."""
    arms = range(len(tried.candidates) + 1)
    losses: dict[str, dict[int, float]] = {}
    for replay in tried.replays:
        if replay.dissonance is not None and replay.arm in arms:
            of_task = losses.setdefault(replay.task_id, {})
            of_task[replay.arm] = goals.loss(replay.dissonance, replay.tokens)

    def draw(ax: Axes) -> None:
        for of_task in losses.values():
            told = sorted(of_task.items())
            ax.plot(*np.transpose(told), ".-", color=QUIET, linewidth=0.7)
        for arm in arms:
            here = [of_task[arm] for of_task in losses.values() if arm in of_task]
            if here:
                ax.plot([arm], [np.mean(here)], "D", color=INK, markersize=6)
        ax.set_xticks(arms, ["present", *map(str, arms[1:])])
        ax.set_xlim(-0.5, len(arms) - 0.5)
        ax.set_xlabel("settings: the present ones, and each candidate's")
        ax.set_ylabel("loss")

    against = [
        f"{n}: {_against(paired([tried], candidate.values, goals))}"
        for n, candidate in enumerate(tried.candidates, 1)
    ]
    key = "A line for each task, diamonds: means."
    return Picture(f"Round {number}: the loss of recorded tasks", " ".join([*against, key]), draw)


def _against(found: Paired) -> str:
    """What a candidate came to against the present settings, in computed words."""
    n = found.gain.n
    if not n:
        return "no task was measured on both sides."
    error = found.standard_error
    spread = "" if error is None else f", standard error {error:.3f}"
    return (
        f"loss lower on {found.won} of {n} task{'s' * (n != 1)} and higher on {found.lost}; "
        f"mean gain {found.gain.mean:+.3f}{spread}."
    )


def amounts(title: str, told: str, unit: str, of: Mapping[str, float]) -> Picture:
    """Quantities as bars, one below the other."""

    def draw(ax: Axes) -> None:
        places = range(len(of))
        bars = ax.barh(places, list(of.values()), color=INK, height=0.6)
        ax.bar_label(bars, [f"{amount:,.0f}" for amount in of.values()], padding=3)
        ax.set_yticks(places, [short(name) for name in of])
        ax.set_ylim(len(of) - 0.4, -0.6)
        ax.margins(x=0.25)
        ax.locator_params(axis="x", nbins=4)
        ax.set_xlabel(unit)

    return Picture(title, told, draw)
