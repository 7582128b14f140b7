"""A proposal as a picture: the expected effect, the loss so far, what was learnt about each changed key.

Where its change was verified, also what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from connection.problems import Problem
from desk.plots.effects import Gain, effects, looks
from desk.plots.over_time import Mean, dated, loss_of, over_time
from desk.plots.pictures import BAND, INK, MARK, Picture, drawn, no_difference, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from configuration import Tunable
    from messages.image import Amendment
    from messages.loops import OptimizerRequest, ProposalView
    from messages.trials import Observation
    from messages.verification import VerificationView
    from optimizer.goals import Goals
    from optimizer.surrogate import Surrogate

GRID = 41
Z90 = 1.645
"""Standard deviations on both sides of the mean that hold nine tenths of a normal distribution."""


def save_plot(
    file: Path,
    view: ProposalView,
    request: OptimizerRequest,
    ledger: Sequence[Amendment],
    verified: VerificationView | None,
) -> None:
    """Write the picture; its ending says the format. Raises Problem where it cannot be written."""
    pictures = _pictures(view, request, ledger, verified)
    changes = ", ".join(f"{c.key} {short(c.old)} to {short(c.new)}" for c in view.changes)
    more = len(pictures) - 1
    with drawn(pictures, (8, 2 + 3 * more), [1, *[2] * more]) as figure:
        figure.suptitle(f"{view.loop_id}: {changes}")
        try:
            figure.savefig(file, dpi=120)
        except (OSError, ValueError) as error:
            told = f"{file} cannot be written ({error})"
            raise Problem(f"{told}. Name a file that ends in .png, .svg or .pdf") from None


def _pictures(
    view: ProposalView,
    request: OptimizerRequest,
    ledger: Sequence[Amendment],
    verified: VerificationView | None,
) -> list[Picture]:
    """The parts of the picture, from the top down."""
    from optimizer.consider import rows_of, situation_of, surrogate_of

    situation = situation_of(request)
    goals = situation.goals
    surrogate = surrogate_of(situation)
    rows = {"on record": request.observations}
    rows["in trials"] = [
        row for tried in request.rounds for row in rows_of(tried, situation.present, situation.conditions, 0)
    ]
    batches = dated(request.observations, partial(loss_of, goals=goals))
    amended = [entry.decided_at for entry in ledger if entry.state in ("approved", "adopted")]
    title = "Mean loss of the arguments on record, with two standard errors; lines: amendments"
    return [
        _effect(view),
        *([looks(verified)] if verified else []),
        *([over_time(title, "loss", [], batches, amended)] if batches else []),
        *(_along(situation.space.tunables[change.key], surrogate, rows, goals) for change in view.changes),
    ]


def _effect(view: ProposalView) -> Picture:
    effect = view.effect
    title = "Expected gain: how much lower the loss of a task will be"
    if effect is None:
        return effects(title, "", [])
    title += f"\nbetter with probability {effect.better:.2f}, worse by more than .05 with {effect.worse:.2f}"
    return effects(
        title, str(effect), [Gain("expected", effect.gain, effect.low, effect.high, expected=True)]
    )


def _along(
    tunable: Tunable, surrogate: Surrogate, rows: Mapping[str, Sequence[Observation]], goals: Goals
) -> Picture:
    """The gain along one key with the others as they are now, and what arguments came to along it.

    The points are gains over the mean loss under the present values; under all where there is none.
    """
    present = surrogate.present

    def same(row: Observation) -> bool:
        return all(row.values.get(key) == value for key, value in present.items())

    def draw(ax: Axes) -> None:
        grid: list[Any] = list(tunable.choices) or list(np.linspace(tunable.low, tunable.high, GRID))
        mean, covariance = surrogate.gains([{tunable.key: value} for value in grid])
        half = Z90 * np.sqrt(covariance.diagonal())
        if tunable.choices:
            ax.errorbar(grid, mean, yerr=half, fmt="s", capsize=6, color=INK)
        else:
            ax.plot(grid, mean, color=INK)
            ax.fill_between(grid, mean - half, mean + half, color=BAND)
        for (name, all_rows), marker in zip(rows.items(), ("o", "x"), strict=True):
            told = [(row, came_to) for row in all_rows if (came_to := loss_of(row, goals))]
            if not told:
                continue
            level = _level([mean for row, mean in told if same(row)] or [mean for _, mean in told])
            at: list[Any] = [row.values.get(tunable.key, present[tunable.key]) for row, _ in told]
            ax.plot(at, [level - mean.mean for _, mean in told], marker, color=MARK, label=name)
        ax.legend()
        no_difference(ax, upright=False)
        ax.set_ylabel("gain")

    return Picture(f"{tunable.key}: gain over {short(present[tunable.key])}, others as they are", "", draw)


def _level(means: Sequence[Mean]) -> float:
    return float(np.average([mean.mean for mean in means], weights=[mean.n for mean in means]))
