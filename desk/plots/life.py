"""A life on one axis: every entry of the ledger, by what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from desk.plots.pictures import INK, MARK, PAPER, QUIET, Picture, days, time_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from messages.image import Amendment

LANES = {
    "approved": ("o", INK),
    "edited": ("s", INK),
    "conditions": ("D", MARK),
    "declined": ("X", MARK),
    "came to nothing": ("v", QUIET),
    "no proposal": ("|", QUIET),
}
"""The marker and the colour of each kind of entry, from the top down."""
OF_STATE = {
    "approved": "approved",
    "adopted": "edited",
    "rejected": "declined",
    "expired": "declined",
    "no_proposal": "no proposal",
}
MOST_NUMBERED = 25
"""Above, the numbers of revisions would cover each other."""


def lane(entry: Amendment) -> str:
    return "conditions" if entry.changes_conditions else OF_STATE.get(entry.state, "came to nothing")


def _span(of: timedelta) -> str:
    units = (("days", timedelta(days=1)), ("hours", timedelta(hours=1)), ("minutes", timedelta(minutes=1)))
    name, unit = next((each for each in units if of >= 2 * each[1]), units[-1])
    return f"{of / unit:,.1f} {name}"


def life(since: datetime, until: datetime, ledger: Sequence[Amendment]) -> Picture:
    """All that the ledger has, and the number of each revision at the change that began it."""
    lanes = {name: [entry for entry in ledger if lane(entry) == name] for name in LANES}
    numbered = [entry for name in ("approved", "edited") for entry in lanes[name]]

    def draw(ax: Axes) -> None:
        for y, (name, entries) in enumerate(lanes.items()):
            marker, colour = LANES[name]
            ax.axhline(y, color=QUIET, linewidth=0.4)
            ax.plot(
                [days(entry.decided_at) for entry in entries],
                [y] * len(entries),
                marker,
                color=colour,
                markersize=7,
                markeredgecolor=colour if marker == "|" else PAPER,
            )
        for entry in numbered if len(numbered) <= MOST_NUMBERED else ():
            at = (days(entry.decided_at), list(LANES).index(lane(entry)))
            ax.annotate(str(entry.revision), at, (0, 6), textcoords="offset points", ha="center", fontsize=8)
        ax.set_yticks(range(len(lanes)), [f"{name} ({len(entries)})" for name, entries in lanes.items()])
        ax.set_ylim(len(lanes) - 0.5, -0.9)
        ax.tick_params("y", length=0)
        ax.spines["left"].set_visible(False)
        time_axis(ax, since, until)

    parts = ", ".join(f"{len(entries)} {name}" for name, entries in lanes.items() if entries)
    told = f"{_span(until - since)}; the ledger has {parts or 'no entry'}. Numbers: revisions."
    return Picture("The ledger over time", told, draw)
