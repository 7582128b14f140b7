"""What a picture is, and the colours, words and axes that all of them share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import matplotlib.style
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from messages.common import excerpt
from messages.visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, BAND, MARK = "#1f5a96", "#bcd3ea", "#b3541e"
QUIET, WORDS, PAPER = "#808080", "#1a1a1a", "#ffffff"
COLOURS = {"ink": INK, "band": BAND, "mark": MARK, "quiet": QUIET, "words": WORDS, "paper": PAPER}
"""All that are drawn with, by their names in a page; no two alike, so that one can be found again."""

STYLE = {
    # Of models, people and files: a dollar is a dollar.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "living image",
    "font.size": 9,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
    "lines.markersize": 4,
    "hatch.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "legend.facecolor": PAPER,
    "legend.edgecolor": QUIET,
    "legend.framealpha": 1,
    "axes.edgecolor": QUIET,
    **dict.fromkeys(
        ["text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"], WORDS
    ),
}
Draw = Callable[["Axes"], None]


class Picture(NamedTuple):
    """What draws it; `told`: the same in words, from the same figures."""

    title: str
    told: str
    draw: Draw


@contextmanager
def drawn(
    pictures: Sequence[Picture], size: tuple[float, float], heights: Sequence[float]
) -> Iterator[Figure]:
    """Pictures one below the other, to be saved inside; `size` in inches. A title stands over several."""
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # Whoever shows a text of ours has fonts of their own.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(pictures), 1, height_ratios=heights, squeeze=False)
        for ax, picture in zip(axes.flat, pictures, strict=True):
            picture.draw(ax)
            if len(pictures) > 1:
                ax.set_title(picture.title)
        yield figure


def short(text: object, most: int = 28) -> str:
    """A text of whatever origin as a label: on one line, and of signs that can be shown."""
    return visible(excerpt(str(text), most))


def count(n: int, one: str = "argument", many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def shown(figure: float) -> str:
    """A figure to four digits, and never as a power of ten."""
    return f"{figure:,.0f}" if abs(figure) >= 1_000 else f"{figure:.4g}"


def days(when: datetime) -> float:
    """A moment as the axis has it: by the clock where the person is, as in the tables."""
    known: Callable[[datetime], float] = date2num  # it has no types
    return known(when.astimezone().replace(tzinfo=None))


def time_axis(ax: Axes, first: datetime, last: datetime) -> None:
    """Dates along x, few enough for a small picture."""
    begin, end = days(first), days(last)
    margin = max((end - begin) * 0.03, 30 / 86_400)
    ax.set_xlim(begin - margin, end + margin)
    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def no_difference(ax: Axes, *, upright: bool) -> None:
    """The line on which nothing is gained."""
    (ax.axvline if upright else ax.axhline)(0, color=QUIET, linewidth=1)
