"""The commands for what the optimizer learns from: a person's opinion of an answer, and the observations."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
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
    table = rendering.new_table(
        *("settings", "conditions", "batch", "since", "type of task"),
        *("arguments", "dissonance", "sd", "tokens", "rating", "failed"),
    )
    for row in rows:
        # A row that has failures alone is a line as well.
        for number, task_type in enumerate(row.dissonance or [""]):
            first = number == 0
            dissonance, tokens = row.dissonance.get(task_type), row.tokens.get(task_type)
            table.add_row(
                *map(rendering.words, (row.digest, row.conditions, row.batch) if first else ("", "", "")),
                rendering.moment(row.since) if first else "",
                rendering.words(task_type),
                str(dissonance.n if dissonance else 0),
                *_figures(dissonance, tokens),
                _mean(row.rating, ".2f") if first else "",
                _without_data(row) if first else "",
            )
    return table if rows else Text("No observations yet.")


def _figures(dissonance: "Moments | None", tokens: "Moments | None") -> Iterable[str]:
    spread = dissonance.variance if dissonance else None
    return _mean(dissonance, ".3f"), "" if spread is None else f"{spread**0.5:.3f}", _mean(tokens, ".0f")


def _mean(moments: "Moments | None", form: str) -> str:
    return format(moments.mean, form) if moments and moments.n else ""


def _without_data(row: "Observation") -> str:
    unmeasured = f", {row.unmeasured} without a dissonance" if row.unmeasured else ""
    return f"{row.failed}{unmeasured}"
