"""A proposal as a picture: the expected effect, the loss so far, what was learnt about each changed key.

Where its change was verified, also what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np

from connection.problems import Problem
from messages.verification import VERDICTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from configuration import Tunable, Value
    from messages.image import Amendment
    from messages.loops import OptimizerRequest, ProposalView
    from messages.trials import Observation
    from messages.verification import VerificationView
    from optimizer.goals import Goals
    from optimizer.surrogate import Surrogate

GRID = 41
Z90 = 1.645
"""Standard deviations on both sides of the mean that hold nine tenths of a normal distribution."""
INK, BAND, MARK = "#1f5a96", "#bcd3ea", "#b3541e"


def save_plot(
    file: Path,
    view: ProposalView,
    request: OptimizerRequest,
    ledger: Sequence[Amendment],
    verified: VerificationView | None,
) -> None:
    """Write the picture; its ending says the format. Raises Problem where it cannot be written."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = _panels(view, request, ledger, verified)
    heights = [1, *[2] * (len(panels) - 1)]
    figure, axes = pyplot.subplots(
        len(panels),
        1,
        figsize=(8, 2 + 3 * (len(panels) - 1)),
        height_ratios=heights,
        layout="constrained",
    )
    figure.suptitle(f"{view.loop_id}: {', '.join(f'{c.key} {c.old} to {c.new}' for c in view.changes)}")
    for ax, draw in zip(axes, panels, strict=True):
        draw(ax)
    try:
        figure.savefig(file, dpi=120)
    except (OSError, ValueError) as error:
        told = f"{file} cannot be written ({error})"
        raise Problem(f"{told}. Name a file that ends in .png, .svg or .pdf") from None
    finally:
        pyplot.close(figure)


def _panels(
    view: ProposalView,
    request: OptimizerRequest,
    ledger: Sequence[Amendment],
    verified: VerificationView | None,
) -> list[Callable[[Axes], None]]:
    """What draws each part of the picture, from the top down."""
    from optimizer.consider import rows_of, situation_of, surrogate_of

    situation = situation_of(request)
    surrogate = surrogate_of(situation)
    rows = {"on record": [row for row in request.observations if row.dissonance]}
    rows["in trials"] = [
        row
        for tried in request.rounds
        for row in rows_of(tried, situation.present, situation.conditions, 0)
        if row.dissonance
    ]
    tunables = [situation.space.tunables[change.key] for change in view.changes]
    return [
        partial(_effect, view=view),
        *([partial(_verification, of=verified)] if verified else []),
        partial(_loss_over_time, rows=request.observations, goals=situation.goals, ledger=ledger),
        *(
            partial(_along, tunable=tunable, surrogate=surrogate, rows=rows, goals=situation.goals)
            for tunable in tunables
        ),
    ]


def _effect(ax: Axes, view: ProposalView) -> None:
    effect = view.effect
    ax.set_title("Expected gain: how much lower the loss of a task will be")
    ax.axvline(0, color="grey", linewidth=1)
    if effect is not None:
        spread = [[effect.gain - effect.low], [effect.high - effect.gain]]
        ax.errorbar([effect.gain], [0], xerr=spread, fmt="o", capsize=6, color=INK)
        told = f"better with probability {effect.better:.2f}, worse by more than .05 with {effect.worse:.2f}"
        ax.text(0.02, 0.8, told, transform=ax.transAxes)
    ax.set_yticks([])
    ax.set_ylim(-1, 1)
    ax.set_xlabel("gain, with the interval that holds it with probability .9")


def _verification(ax: Axes, of: VerificationView) -> None:
    """The gain with its interval at each look, and hollow as it is now where that is later."""
    told = [(look.blocks, look.gain, look.low, look.high) for look in of.looks]
    now = []
    if of.effect is not None and of.interval is not None and of.blocks not in [blocks for blocks, *_ in told]:
        now = [(of.blocks, of.effect, *of.interval)]
    for points, face in ((told, INK), (now, "white")):
        if points:
            blocks, gain, low, high = np.transpose(points)
            ax.errorbar(blocks, gain, yerr=[gain - low, high - gain], fmt="o", capsize=6, color=INK, mfc=face)
    for blocks in of.looks_to_come:
        ax.axvline(blocks, color="grey", linewidth=1, linestyle=":")
    ax.axhline(0, color="grey", linewidth=1)
    ax.set_xlim(0, of.cap + 1)
    ax.set_xticks([0, *of.levels])
    ax.set_title(f"Verified: {VERDICTS[of.verdict] if of.verdict else 'no verdict yet'}")
    ax.set_xlabel("blocks of two tasks; hollow: now; dotted: looks to come")
    ax.set_ylabel("gain, 90% interval")


def _loss_over_time(ax: Axes, rows: Sequence[Observation], goals: Goals, ledger: Sequence[Amendment]) -> None:
    from matplotlib.dates import date2num

    days: Callable[[datetime], float] = date2num  # it has no types
    told = [(days(row.since), *_loss(row, goals)) for row in rows if row.since and row.dissonance]
    ax.set_title("Mean loss of the arguments on record, with two standard errors; lines: amendments")
    ax.errorbar(
        [at for at, *_ in told],
        [mean for _, mean, _ in told],
        yerr=[2 * error for *_, error in told],
        fmt="o",
        color=INK,
    )
    for entry in ledger:
        if entry.state in ("approved", "adopted"):
            ax.axvline(days(entry.decided_at), color=MARK, linewidth=1, linestyle="--")
    ax.xaxis_date()
    if len(told) == 1:
        ax.set_xlim(told[0][0] - 1, told[0][0] + 1)
    ax.tick_params("x", rotation=20)
    ax.set_ylabel("loss")


def _along(
    ax: Axes,
    tunable: Tunable,
    surrogate: Surrogate,
    rows: Mapping[str, Sequence[Observation]],
    goals: Goals,
) -> None:
    """The gain along one key with the others as they are now, and what arguments came to along it."""
    present = surrogate.present
    grid: list[Any] = list(tunable.choices) or list(np.linspace(tunable.low, tunable.high, GRID))
    mean, covariance = surrogate.gains([{tunable.key: value} for value in grid])
    half = Z90 * np.sqrt(covariance.diagonal())
    if tunable.choices:
        ax.errorbar(grid, mean, yerr=half, fmt="s", capsize=6, color=INK)
    else:
        ax.plot(grid, mean, color=INK)
        ax.fill_between(grid, mean - half, mean + half, color=BAND)
    for (name, told), marker in zip(rows.items(), ("o", "x"), strict=True):
        if not told:
            continue
        level = _level(told, present, goals)
        gains = [level - _loss(row, goals)[0] for row in told]
        ax.plot(
            [row.values.get(tunable.key, present[tunable.key]) for row in told],
            gains,
            marker,
            color=MARK,
            label=name,
        )
    ax.legend()
    ax.axhline(0, color="grey", linewidth=1)
    ax.set_title(f"{tunable.key}: gain over {present[tunable.key]}, others as they are")
    ax.set_ylabel("gain")


def _level(rows: Sequence[Observation], present: Mapping[str, Value], goals: Goals) -> float:
    """The mean loss under the present values; under all where there is none."""
    same = [row for row in rows if all(row.values.get(k) == v for k, v in present.items())]
    of = same or rows
    weights = [sum(one.n for one in row.dissonance.values()) for row in of]
    return float(np.average([_loss(row, goals)[0] for row in of], weights=weights))


def _loss(row: Observation, goals: Goals) -> tuple[float, float]:
    """The mean loss of a row and its standard error, dissonance's alone."""
    n = sum(one.n for one in row.dissonance.values())
    dissonance = sum(one.n * one.mean for one in row.dissonance.values()) / n
    tokens = sum(one.n * one.mean for one in row.tokens.values()) / n
    variance = sum(one.m2 for one in row.dissonance.values()) / max(n - 1, 1)
    return goals.loss(dissonance, tokens), float(np.sqrt(variance / n))
