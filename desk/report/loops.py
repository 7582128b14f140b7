"""What the page tells of the looks at the logs: what was tried, task by task, and what was found."""

from desk import rendering
from desk.plots.effects import trials
from desk.report.figures import Figures
from desk.report.lived import Life
from desk.report.markup import Html, element, facts, lines, listed, paragraph, section, table
from messages.loops import ProposalView

MOST_DRAWN = 12
"""The latest loops whose trials are drawn; of all, they are told."""


def the_loops(of: Life, figures: Figures) -> Html:
    """Each loop that can still be asked, oldest first."""
    tried = [loop_id for loop_id, view in of.loops.items() if view.rounds]
    drawn = tried[-MOST_DRAWN:]
    told = [_loop(of, view, figures if loop_id in drawn else None) for loop_id, view in of.loops.items()]
    parts = told or [paragraph("No loop has looked at the logs yet, or none can be asked any more.")]
    if len(tried) > len(drawn):
        parts.insert(0, paragraph(f"Only the trials of the latest {MOST_DRAWN} loops are drawn."))
    return section("loops", "Looks at the logs, and trials", *parts)


def _loop(of: Life, view: ProposalView, figures: Figures | None) -> Html:
    about = {
        "ended": view.state.replace("_", " "),
        "when": rendering.moment(view.decided_at),
        "change": lines(map(rendering.change_line, view.changes)),
        "why": view.justification,
        "reason": view.reason,
        "decided by": view.decided_by,
        "comment": view.comment,
        **view.findings(),
    }
    parts = [facts((name, told) for name, told in about.items() if told)]
    for number, tried in enumerate(view.rounds, 1):
        drawn = [figures(trials(number, tried, of.goals))] if figures else []
        named = listed(f"{n}: {candidate}" for n, candidate in enumerate(tried.candidates, 1))
        caption = f"Round {number}: dissonance and tokens of recorded tasks"
        told = element("div", named, table(caption, tried.heads(), tried.rows()))
        parts.append(element("div", *drawn, told, class_="round"))
    return element("article", element("h3", view.loop_id), *parts)
