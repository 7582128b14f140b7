"""The page of a philosophical loop: a proposal as a person decides it."""

import json
from typing import get_args

from messages.common import LoopState
from messages.loops import ProposalView
from messages.trials import Round
from workflows.details.parts import from_to, listed, moment, more, page, section, table, value_text
from workflows.details.text import block, diff_block, line, prose

MOST_CHANGES = 8
MOST_FIGURES = 12
MOST_REPLAYED = 8
MOST_UNHEEDED = 2
URGENT = "URGENT: a change does harm. "

_TITLES = {
    "analysing": "the image looks at its logs",
    "trying": "candidates are tried on recorded tasks",
    "pending": "a proposal waits for a person",
    "rewriting": "settings.toml is being rewritten",
    "no_proposal": "nothing to propose",
}


def loop_details(view: ProposalView) -> str:
    """A proposal as a person decides it: what would change, why, and what to click."""
    waits = "something is in the way of settings.toml" if view.obstacle else ""
    urgent = URGENT if view.urgent and view.state not in get_args(LoopState) else ""
    title = f"{urgent}{line(view.loop_id)}: {waits or _TITLES.get(view.state, view.state)}"
    if view.state == "analysing":
        return page(title, "<p>Nothing to decide yet.</p>", _obstacle(view), _signatures(view))
    ended = [_obstacle(view)]
    if view.decided_by:
        ended.append(f"<p>Decided by <b>{line(view.decided_by)}</b>. {line(view.comment, 1_000)}</p>")
    if view.reason:
        ended.append(prose(view.reason, 1_000))
    found = section("What was found", table(_found(view))) if view.findings() else ""
    if not view.changes:
        return page(title, *ended, _signatures(view), found, *map(_round, view.rounds))
    pending = view.state == "pending"
    done = view.state in ("approved", "rewriting")
    changes = listed(map(from_to, view.changes[:MOST_CHANGES])) + more(view.changes, MOST_CHANGES)
    return page(
        title,
        _deadline(view) if pending else "",
        _notice(view) if pending or view.obstacle else "",
        *ended,
        _signatures(view),
        section("The change" if done else "The proposed change", changes),
        section("In settings.toml, as proposed", diff_block(view.diff)) if view.diff else "",
        section("Why", prose(view.justification)) if view.justification else "",
        section("What to expect", prose(view.expected_effect)) if view.expected_effect else "",
        section("Evidence", _evidence(view)) if view.evidence else "",
        found,
        *map(_round, view.rounds),
        section("How to decide", _how_to_decide(view)) if pending else "",
    )


def _notice(view: ProposalView) -> str:
    return f"<p>{line(view.notice, 300)}</p>" if view.notice else ""


def _signatures(view: ProposalView) -> str:
    """Who has signed, and what came and did not count; nothing where no signature is asked for."""
    signatures = view.signatures
    shown = f"<p><b>Signatures:</b> {line(signatures.standing(), 500)}</p>" if signatures.approvers else ""
    if signatures.unheeded:
        shown += "<p><b>Did not count:</b></p>"
        shown += listed(line(each, 300) for each in signatures.unheeded[-MOST_UNHEEDED:])
    return shown


def _obstacle(view: ProposalView) -> str:
    if not view.obstacle:
        return ""
    until = f" until {moment(view.expires_at)}" if view.expires_at else ""
    return (
        f"<p><b>It waits:</b> {line(view.obstacle, 1_000)}</p>"
        f"<p>It tries again by itself{until}, and goes on when that is mended. "
        "Nothing has to be decided again.</p>"
    )


def _deadline(view: ProposalView) -> str:
    by = f" by {moment(view.expires_at)}" if view.expires_at else ""
    return (
        f"<p><b>Approve or reject it{by}</b>; how is said at the end of this page. Undecided, it expires and "
        "changes nothing. <i>Request Cancellation</i> decides nothing.</p>"
    )


def _evidence(view: ProposalView) -> str:
    figures = list(view.evidence.items())[:MOST_FIGURES]
    rows = [(line(key, 120), line(value_text(value), 120)) for key, value in figures]
    source = f"<p>Proposed by {line(view.source)}.</p>" if view.source else ""
    return table(rows) + more(view.evidence, MOST_FIGURES) + source


def _found(view: ProposalView) -> list[tuple[str, ...]]:
    return [(line(name), line(words, 600)) for name, words in view.findings().items()]


def _round(tried: Round) -> str:
    candidates = listed((line(str(each), 400) for each in tried.candidates), kind="ol")
    rows = [tuple(line(cell, 80) for cell in row) for row in tried.rows()]
    shown = table(rows[:MOST_REPLAYED], tuple(tried.heads())) + more(rows, MOST_REPLAYED)
    return section("Trials: dissonance and tokens of recorded tasks, argued once more", candidates, shown)


def _how_to_decide(view: ProposalView) -> str:
    if view.signatures.approvers:
        return (
            "<p>Only a signed decision counts. Where your key or your SSH agent is: "
            f"<code>python starter.py approve {line(view.loop_id)}</code>, or <code>reject</code>; add "
            "<code>--key FILE</code> for a key in a file.</p>"
        )
    answer = json.dumps({"verdict": "approve", "approver": "", "proposal_digest": view.digest}, indent=2)
    own = f'"changes": {json.dumps({change.key: change.new for change in view.changes[:1]})}'
    return (
        listed(
            [
                "<b>More Actions &#62; Send an Update</b>, at the top right of this page",
                "the update <code>decide</code>",
                "as its Data the lines below, with your name as the approver",
            ],
            kind="ol",
        )
        + block(answer)
        + '<p>To reject it, write <code>"reject"</code> as the verdict. You may add a '
        f'<code>"comment"</code>, or values of your own: <code>{line(own)}</code>.</p>'
    )
