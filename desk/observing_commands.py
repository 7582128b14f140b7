"""The commands for what the optimizer learns from: a person's opinion of an answer, and the observations."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from connection.problems import Problem
from desk import rendering
from desk.app import By, Json, command, present, request, say
from desk.deciding import login_name

if TYPE_CHECKING:
    from desk.client import Desk
    from messages.trials import Moments, Observation

RATINGS = {"good": 1.0, "bad": 0.0}


@command
async def rate(
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="Its name; see `tasks`.")],
    rating: Annotated[str, typer.Argument(metavar="good|bad|0.0..1.0", help="How good its answer is.")],
    *,
    comment: Annotated[
        str, typer.Option("--comment", metavar="TEXT", help="Why; it is kept with the task.")
    ] = "",
    by: By = "",
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Say what you think of an answer; said again, the later rating stands."""
    from messages.requests import RateTask

    opinion = request(
        RateTask, task_id=task_id, rating=read_rating(rating), comment=comment, rated_by=by or login_name()
    )
    receipt = await desk.rate(opinion)
    present(receipt, as_json, say(f"The answer to task {task_id} is rated {opinion.rating:g}."))


def read_rating(text: str) -> float:
    try:
        return RATINGS[text] if text in RATINGS else float(text)
    except ValueError:
        raise Problem(f"{text!r} is no rating. Say good, bad or a number from 0.0 to 1.0") from None


@command
async def observations(*, as_json: Json = False, desk: "Desk") -> None:
    """What the optimizer learns from: how arguments went, by settings, conditions and batch."""
    table = await desk.observations()
    present(table, as_json, lambda: show(table))


def show(rows: "list[Observation]") -> RenderableType:
    return Group(*map(_row, rows)) if rows else Text("No observations yet.")


def _row(row: "Observation") -> RenderableType:
    """One row, its types of task a line each."""
    told = [
        f"settings {row.digest}",
        f"conditions {row.conditions or 'unknown'}",
        f"batch {row.batch}" + (" (trials)" if row.paired else ""),
        rendering.moment(row.since),
        f"rated {_mean(row.rating, '.2f')}" if row.rating.n else "",
        f"{row.failed} failed" if row.failed else "",
        f"{row.unmeasured} without a dissonance" if row.unmeasured else "",
    ]
    lines = [
        _figures(task_type, each, row.tokens.get(task_type)) for task_type, each in row.dissonance.items()
    ]
    return rendering.paragraph(rendering.words(", ".join(filter(None, told))), *map(rendering.words, lines))


def _figures(task_type: str, dissonance: "Moments", tokens: "Moments | None") -> str:
    spread = dissonance.variance
    sd = "" if spread is None else f" (sd {spread**0.5:.3f})"
    figures = f"dissonance {dissonance.mean:.3f}{sd}, tokens {_mean(tokens, '.0f')}"
    return f"{task_type}: {dissonance.n} argument{'s' * (dissonance.n != 1)}, {figures}"


def _mean(moments: "Moments | None", form: str) -> str:
    return format(moments.mean, form) if moments and moments.n else ""
