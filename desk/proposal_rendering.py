"""How the desk shows proposals: what would change, why, what was found and tried, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from desk.rendering import (
    change_line,
    changes,
    diff,
    fields,
    known,
    moment,
    new_table,
    paragraph,
    styled,
    words,
)

if TYPE_CHECKING:
    from configuration import Value
    from messages.loops import LoopConcluded, OptimizerAnswer, ProposalView
    from messages.trials import Round

URGENT = "a change does harm, and this takes it back"


def proposals(pending: list[ProposalView]) -> RenderableType:
    if not pending:
        return Text("No proposal waits for a person.")
    entries = [
        paragraph(
            words(f"{view.loop_id}  until {moment(view.expires_at)}, by {view.source}"),
            *([words(URGENT, "red")] if view.urgent else []),
            changes(view.changes),
        )
        for view in pending
    ]
    return Group(*entries, Text("\nIn full: python starter.py show. To decide: approve or reject.", "dim"))


def proposal(view: ProposalView) -> RenderableType:
    facts = {
        "loop": words(view.loop_id, "bold"),
        "state": styled(view.state),
        "urgent": words(URGENT if view.urgent else "", "red"),
        "waits, because": words(view.obstacle, "yellow"),
        "reason": words(view.reason),
        "decided by": words(view.decided_by),
        "ended": words(moment(view.decided_at)),
        "comment": words(view.comment),
        "digest": words(view.digest),
        "proposed by": words(view.source),
        "expires": words(moment(view.expires_at)),
        "notice": words(view.notice),
        "signatures": words(view.signatures.standing()),
        "did not count": words("\n".join(map(str, view.signatures.unheeded)), "red"),
    }
    parts: list[RenderableType] = [fields(known(facts))]
    if view.changes:
        parts += [
            Text("\nThe change to settings.toml", "bold"),
            diff(view.diff),
            Text("\nWhy", "bold"),
            words(view.justification),
            Text("\nWhat to expect", "bold"),
            words(view.expected_effect),
            Text("\nEvidence", "bold"),
            _evidence(view.evidence),
        ]
    if found := view.findings():
        parts += [
            Text("\nWhat was found", "bold"),
            fields({name: words(told) for name, told in found.items()}),
        ]
    for number, tried in enumerate(view.rounds, 1):
        title = f"\nTrials, round {number}: dissonance and tokens of recorded tasks"
        parts += [Text(title, "bold"), _trials(tried)]
    return Group(*parts)


def explanation(loop_id: str, recorded: OptimizerAnswer, differ: list[str]) -> RenderableType:
    """Whether an answer of the optimizer comes out the same when it is computed again."""
    proposal = recorded.proposal
    came_to = f"proposed {', '.join(map(change_line, proposal.changes))}" if proposal else recorded.reason
    rows = {
        "loop": words(loop_id, "bold"),
        "came to": words(came_to),
        "computed from": words(proposal.provenance or "unknown") if proposal else Text(),
        "computed again": words("something else" if differ else "the same", "red" if differ else "green"),
    }
    return Group(fields(known(rows)), *map(words, differ))


def _trials(tried: Round) -> RenderableType:
    table = new_table(*tried.heads())
    table.columns[0].min_width = 12  # an id of ours in one line, beside many arms
    for row in tried.rows():
        table.add_row(*map(words, row))
    named = (words(f"{number}: {candidate}") for number, candidate in enumerate(tried.candidates, 1))
    return Group(*named, table)


def conclusion(of: LoopConcluded) -> RenderableType:
    """How a loop ended, with what holds now or why not."""
    line = styled(of.state.replace("_", " "))
    line.append_text(words(f": {of.loop_id}", "default"))
    if of.decided_by:
        line.append_text(words(f", by {of.decided_by}", "default"))
    parts: list[RenderableType] = [line]
    if of.state == "approved":
        parts.append(paragraph(Text("settings.toml was rewritten:"), changes(of.changes)))
    if of.reason:
        parts.append(words(of.reason))
    return Group(*parts)


def _evidence(figures: Mapping[str, Value | None]) -> RenderableType:
    return fields({name: words("unknown" if figure is None else figure) for name, figure in figures.items()})
