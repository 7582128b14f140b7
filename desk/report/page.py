"""The whole page."""

from datetime import datetime
from pathlib import Path

from desk import rendering
from desk.plots.pictures import count
from desk.report.arguments import the_arguments
from desk.report.cost import the_cost
from desk.report.figures import Figures
from desk.report.history import the_effects, the_life, the_settings
from desk.report.lived import Life, missing
from desk.report.loops import the_loops
from desk.report.markup import Html, element, facts, listed, paragraph, section
from workflows.image_status import status_of

STYLE = Path(__file__).with_name("page.css")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page_of(life: Life) -> str:
    """All of it as HTML, in one file that asks for nothing else."""
    figures = Figures()
    body = element(
        "main",
        _head(life),
        the_life(life, figures),
        the_arguments(life, figures),
        the_effects(life, figures),
        the_loops(life, figures),
        the_settings(life),
        the_cost(life, figures),
        _missing(life),
    )
    head = "".join(
        [
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            element("title", f"{life.state.image_id}: a report"),
            element("style", Html(STYLE.read_text(encoding="utf-8"))),
        ]
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _head(life: Life) -> Html:
    told = rendering.known(rendering.status_facts(status_of(life.state), life.ended))
    written = f"{rendering.moment(life.written_at)} ({_zone(life.written_at)}, as all times here)"
    about = [(name, each.plain) for name, each in told.items() if name != "image"]
    gaps = missing(life)
    there = f"{count(len(life.arguments))} and {count(len(life.loops), 'loop')} could be read."
    gap = f" {count(len(gaps), 'thing')} could not: see the end of this page." if gaps else ""
    return element(
        "header",
        element("h1", life.state.image_id),
        facts([*about, ("written", written)]),
        paragraph(there + gap),
    )


def _zone(when: datetime) -> str:
    return when.astimezone().strftime("UTC%z")


def _missing(life: Life) -> Html:
    gaps = missing(life)
    told = listed(gaps) if gaps else paragraph("All that this page asks for was there.")
    return section("missing", "What was not there to be read", told)
