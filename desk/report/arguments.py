"""What the page tells of the arguments: what they came to over time, and how they ended."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from statistics import fmean, stdev

from desk.plots.over_time import LATEST, Batches, dated, loss_of, outcomes, over_time, together
from desk.plots.pictures import count, shown
from desk.report.figures import Figures, grid
from desk.report.lived import Argument, Life
from desk.report.markup import Html, paragraph, section, table
from messages.trials import Observation

SOON = timedelta(seconds=10)
"""A dialogue that failed is known by when it ended, which is a moment after its log."""

Points = list[tuple[datetime, float]]


def the_arguments(of: Life, figures: Figures) -> Html:
    """Loss, dissonance, turns and tokens over time, and how arguments ended."""
    older, goals = _older(of), of.goals
    by_name: dict[str, tuple[Callable[[Argument], float | None], Batches]] = {
        "loss": (partial(_loss, of), dated(older, partial(loss_of, goals=goals))),
        "dissonance": (lambda each: each.dissonance, dated(older, lambda row: together(row.dissonance))),
        "turns": (lambda each: each.turns, []),
        "tokens": (_tokens, dated(older, lambda row: together(row.tokens))),
    }
    amended = [entry.decided_at for entry in of.ledger if entry.state in ("approved", "adopted")]
    argued = [each for each in of.arguments if each.outcome != "failed"]
    drawn, rows = [], []
    for name, (figure, batches) in by_name.items():
        points = [(each.ended_at, value) for each in argued if (value := figure(each)) is not None]
        if points or batches:
            picture = over_time(name.capitalize(), name, points, batches, _within(amended, points, batches))
            drawn.append(figures(picture))
        if points:
            rows.append([name, *_summary([value for _, value in points])])
    if of.arguments:
        drawn.append(figures(outcomes([(each.ended_at, each.outcome) for each in of.arguments])))
    if not drawn:
        return section("arguments", "Arguments", paragraph("No argument has ended yet."))
    heads = [
        "figure",
        "arguments",
        "mean",
        "standard deviation",
        "least",
        "most",
        f"mean of the latest {LATEST}",
    ]
    told = [table("Arguments that did not fail, as far as they were measured", heads, rows)] if rows else []
    unmeasured = sum(each.dissonance is None for each in argued)
    return section("arguments", "Arguments", grid(*drawn), *told, *map(paragraph, _notes(of, unmeasured)))


def _older(of: Life) -> list[Observation]:
    """Rows of the table of observations that began before the first argument that was read."""
    first = of.arguments[0].ended_at if of.arguments else None
    rows = [row for row in of.state.observing.table() if row.since and not row.paired]
    return [row for row in rows if first is None or (row.since and row.since < first - SOON)]


def _within(moments: Iterable[datetime], points: Points, batches: Batches) -> list[datetime]:
    """Those after the first argument, so that a long time without any does not press the others together."""
    first = min([*(at for at, _ in points), *(since for since, _ in batches)])
    return [moment for moment in moments if moment >= first]


def _notes(of: Life, unmeasured: int) -> list[str]:
    goals = of.goals
    loss = f"dissonance + {goals.cost_weight:g} * tokens / {goals.token_budget:,.0f}"
    told = [f"The loss of a task is {loss}, between 0 and 1, as [optimizer] has it now; less is better."]
    if unmeasured:
        told.append(f"{count(unmeasured)} without a measured dissonance: in neither dissonance nor loss.")
    return told


def _loss(of: Life, argument: Argument) -> float | None:
    tokens = _tokens(argument)
    if argument.dissonance is None or tokens is None:
        return None
    return of.goals.loss(argument.dissonance, tokens)


def _tokens(argument: Argument) -> float | None:
    return None if argument.tokens is None else sum(argument.tokens)


def _summary(values: Sequence[float]) -> list[str]:
    spread = shown(stdev(values)) if len(values) > 1 else ""
    figures = [fmean(values), min(values), max(values), fmean(values[-LATEST:])]
    mean, least, most, latest = map(shown, figures)
    return [f"{len(values):,}", mean, spread, least, most, latest]
