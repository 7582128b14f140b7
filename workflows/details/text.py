"""What the Web UI shows of each workflow under "User Metadata": its current details.

The UI takes Markdown and lets raw HTML pass. A page here is one HTML block without a blank line, because that
alone wraps long lines and keeps the page short. The UI also replaces `{...}`, even inside code. So every text
that comes from a model, a person or a file goes through `line`, `prose`, `block` or `summary`, or it could
hide part of a proposal from the person who approves it.
"""

import json
import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Sized
from datetime import UTC, datetime
from urllib.parse import quote

from messages.common import excerpt
from messages.goals import Goal
from messages.image import Amendment, SetAside
from messages.loops import Change, ProposalView
from messages.names import INBOX_QUERY
from messages.tasks import Dissonance, TaskView, Transcript
from workflows.image_state import ImageState

WORKFLOWS = "/namespaces/{namespace}/workflows"
INBOX = f'<a href="{WORKFLOWS}?query={INBOX_QUERY}">everything that waits for a person</a>'

# The UI is quick with pages below 20,000 bytes. These limits keep the fullest page of each kind under that.
LINE_BYTES = 240
LINK_BYTES = 160  # an image's name, `/task/` and a task id take 138 at most
PROSE_BYTES = 2_000
BLOCK_BYTES = 4_000
MOST_LINES = 60
MOST_CHANGES = 8
MOST_FIGURES = 12
LATEST = 5
# The UI shows a summary of at most this length.
SUMMARY_BYTES = 200

# Red for "-" and green for "+", escaped; both are readable on the UI's light and dark pages.
_COLOURS = {"&#45;": "#c62828", "&#43;": "#2e7d32"}
_BREAK, _NEWLINE = "<br>", "&#10;"  # a real newline could leave a blank line, which would end the HTML
_HALF_AN_ESCAPE = re.compile("&[^;]*$")
_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")
_LOOKALIKES = {ord(char): ord(char) + 0xFEE0 for char in "<>{}[]$`\\|*_#~"}  # their full-width forms
_UNCOMMON = re.compile(r"[^\n\t -~\w]+")
_CUT = "… cut here; a query shows all of it"

_TITLES = {
    "analysing": "the image looks at its logs",
    "pending": "a proposal waits for a person",
    "rewriting": "settings.toml is being rewritten",
    "no_proposal": "nothing to propose",
}


# --- text of others: shown as itself, whatever it holds ---------------------------------------------


def line(text: object, limit: int = LINE_BYTES) -> str:
    """Any text on one line, as itself, cut at `limit` bytes of HTML."""
    shown, was_cut = _escape(" ".join(str(text)[:limit].split()), limit)
    return f"<bdi>{shown}{'…' * (was_cut or len(str(text)) > limit)}</bdi>"


def prose(text: str, limit: int = PROSE_BYTES) -> str:
    """Any text of many lines, wrapped where the page ends, cut at about `limit` bytes of HTML."""
    return "<p>" + _BREAK.join(_escaped_lines(text, limit)) + "</p>"


def block(text: str, limit: int = BLOCK_BYTES) -> str:
    """Any text to copy or compare, with its spaces, cut at about `limit` bytes of HTML."""
    return _preformatted(_escaped_lines(text, limit))


def diff_block(diff: str) -> str:
    """A unified diff in red and green."""
    lines = _escaped_lines(diff, BLOCK_BYTES)
    # The first two lines name the file.
    return _preformatted([*lines[:2], *map(_coloured, lines[2:])])


def _coloured(escaped: str) -> str:
    colour = _COLOURS.get(escaped[:5])
    return f'<font color="{colour}">{escaped}</font>' if colour else escaped


def summary(text: str) -> str:
    """Any text as the summary of a workflow, at most 200 bytes.

    One place of the UI shows a summary as it is and another as Markdown, so what Markdown would act on is
    replaced by its full-width form.
    """
    short = visible(excerpt(text)).translate(_LOOKALIKES)
    while len(short.encode()) > SUMMARY_BYTES:
        short = short[:-2] + "…"
    return short


def visible(text: str) -> str:
    """What hides, reorders or paints over the text around it, replaced by a sign that something was there."""
    return _UNCOMMON.sub(lambda run: "".join(_signs(run[0])), text)


def _signs(run: str) -> Iterator[str]:
    marks = 0
    for char in run:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        hidden = category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        yield "�" if hidden or marks > 2 else char


def _escape(text: str, limit: int) -> tuple[str, bool]:
    """A text with nothing in it for HTML, Markdown or the UI to act on, and whether `limit` bytes cut it."""
    whole = _PUNCTUATION.sub(lambda mark: f"&#{ord(mark[0])};", visible(text))
    start = whole.encode()[:limit].decode(errors="ignore")
    return _HALF_AN_ESCAPE.sub("", start), len(start) < len(whole)


def _escaped_lines(text: str, limit: int) -> list[str]:
    # No character takes less than a byte, so what is beyond `limit` need not be looked at.
    start, was_cut = _escape(text[:limit].replace("\r\n", "\n"), limit)
    lines = start.split("\n")
    if was_cut or len(text) > limit or len(lines) > MOST_LINES:
        return [*lines[:MOST_LINES], _CUT]
    return lines


# --- the parts of a page ----------------------------------------------------------------------------


def _page(title: str, *parts: str) -> str:
    refresh = "<p><i>Press R to bring this page up to date; that needs a running worker.</i></p>"
    # Only with its tags on lines of their own is the UI sure that all of it is HTML.
    return "\n".join(["<div>", f"<h2>{title}</h2>", *filter(None, parts), refresh, "</div>", ""])


def _section(title: str, *parts: str) -> str:
    return f"<h3>{title}</h3>" + "".join(parts)


def _preformatted(lines: Iterable[str]) -> str:
    return "<pre wrap><code>" + _NEWLINE.join(lines) + "</code></pre>"


def _list(items: Iterable[str], kind: str = "ul") -> str:
    return f"<{kind}>" + "".join(f"<li>{item}</li>" for item in items) + f"</{kind}>"


def _more(items: Sized, shown: int) -> str:
    left_out = len(items) - shown
    return f"<p>… and {left_out} more; a query shows them all</p>" if left_out > 0 else ""


def _table(rows: Iterable[tuple[str, ...]], head: tuple[str, ...] = ()) -> str:
    pad = "\u2003"  # the UI's tables have no padding of their own
    titles = "".join(f'<th align="left">{cell}{pad}</th>' for cell in head)
    cells = ["".join(f"<td>{cell}{pad}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in [titles, *cells] if row) + "</table>"


def _link(workflow_id: str, text: str) -> str:
    address = quote(workflow_id, safe="")
    shown = line(text, 160)
    return shown if len(address) > LINK_BYTES else f'<a href="{WORKFLOWS}/{address}">{shown}</a>'


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _change(change: Change) -> str:
    key, old, new = line(change.key, 120), line(_value(change.old), 80), line(_value(change.new), 80)
    return f"<code>{key}</code> from {old} to <b>{new}</b>"


def _value(value: object) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


# --- the image --------------------------------------------------------------------------------------


def image_details(state: ImageState) -> str:
    """What the image is, what it does and what it waits for."""
    waiting = [_open_loop(state, loop) for loop in state.open_loops]
    running = [f"{_task(state, task.task_id, task.task)}, running" for task in state.running[-LATEST:]]
    finished = [_finished(state, task) for task in state.finished[-LATEST:]]
    parts = [
        _facts(state),
        _section("Waits for a person", _list(waiting or ["nothing"]), f"<p>The inbox: {INBOX}</p>"),
    ]
    if state.settings_problem:
        parts.append(_section("settings.toml was refused", prose(state.settings_problem, 1_000)))
    if problem := state.keeping.problem:
        parts.append(_section("The last snapshot failed", prose(problem, 600)))
    if running or finished:
        parts.append(_section("Latest tasks", _list([*running[::-1], *finished[::-1]])))
    if state.amendments:
        latest = state.amendments[: -LATEST - 1 : -1]
        parts.append(_section("Latest amendments", _list(map(_amendment, latest))))
    parts.append(_section("What to do here", _what_to_do()))
    if state.set_aside:
        aside = _list(map(_aside, state.set_aside[::-1]))
        parts.append(_section("Set aside: messages that could not be read", aside))
    return _page(f"Living image {line(state.image_id)}", *parts)


def _facts(state: ImageState) -> str:
    status = state.status()
    tasks = f"{status.running} running, {status.queued} queued, {status.finished} finished"
    saved = f"{status.saved_generation}, {_moment(status.saved_at)}" if status.saved_at else "none yet"
    return _table(
        [
            ("phase", status.phase),
            ("model", line(status.model_backend or "none has answered yet")),
            ("tasks", f"{tasks}, {status.failed} of them failed"),
            ("log window", f"{status.window} logs"),
            ("settings", f"revision {status.revision}, digest {status.digest}"),
            ("last snapshot", saved),
        ]
    )


def _open_loop(state: ImageState, loop: str) -> str:
    if obstacle := state.obstacles.get(loop):
        return f"{_link(loop, loop)} cannot get at settings.toml: {line(obstacle, 800)}"
    return f"{_link(loop, loop)} has a proposal, or is looking for one"


def _task(state: ImageState, task_id: str, task: str) -> str:
    return _link(state.task_workflow_id(task_id), task)


def _finished(state: ImageState, task: TaskView) -> str:
    outcome = {"max_turns": "out of turns"}.get(task.outcome or "", task.outcome)
    why = f": {line(task.failure, 160)}" if task.failure else ""
    return f"{_task(state, task.task_id, task.task)}, {outcome}{why}"


def _amendment(amendment: Amendment) -> str:
    changes = [_change(change) for change in amendment.changes[:2]]
    more = len(amendment.changes) - len(changes)
    what = "; ".join(changes) + (f" and {more} more" if more else "")
    who = f" by {line(amendment.decided_by, 120)}" if amendment.decided_by else ""
    source = _link(amendment.loop_id, amendment.loop_id) if amendment.loop_id else "settings.toml"
    return (
        f"Revision {amendment.revision}, {_moment(amendment.decided_at)}, {source}: "
        f"{amendment.state.replace('_', ' ')}{who} ({what or line(amendment.reason)})"
    )


def _aside(item: SetAside) -> str:
    came = f"{_moment(item.at)}, {line(item.what, 80)}"
    return f"{came}: {line(item.excerpt, 80)} ({line(item.reason, 120)})"


def _what_to_do() -> str:
    steps = [
        'the update <code>submit_task</code> with <code>&#123;"task": "your question"&#125;</code> '
        "gives the image a task",
        "<code>reflect</code> makes it look at its logs now",
        "<code>pause</code> and <code>resume</code> stop it from starting tasks and let it start them again",
        "<code>retire</code> ends it for good once its running tasks are done",
    ]
    return (
        "<p><b>More Actions &#62; Send an Update</b>, at the top right of this page:</p>"
        + _list(steps)
        + "<p><i>Request Cancellation</i> changes nothing. The tab Queries shows all it knows.</p>"
    )


# --- the loop ---------------------------------------------------------------------------------------


def loop_details(view: ProposalView) -> str:
    """A proposal as a person decides it: what would change, why, and what to click."""
    waits = "something is in the way of settings.toml" if view.obstacle else ""
    title = f"{line(view.loop_id)}: {waits or _TITLES.get(view.state, view.state)}"
    if view.state == "analysing":
        return _page(title, "<p>Nothing to decide yet.</p>", _obstacle(view))
    ended = [_obstacle(view)]
    if view.decided_by:
        ended.append(f"<p>Decided by <b>{line(view.decided_by)}</b>. {line(view.comment, 1_000)}</p>")
    if view.reason:
        ended.append(prose(view.reason, 1_000))
    if not view.changes:
        return _page(title, *ended)
    pending = view.state == "pending"
    done = view.state in ("approved", "rewriting")
    changes = _list(map(_change, view.changes[:MOST_CHANGES])) + _more(view.changes, MOST_CHANGES)
    return _page(
        title,
        _deadline(view) if pending else "",
        *ended,
        _section("The change" if done else "The proposed change", changes),
        _section("In settings.toml, as proposed", diff_block(view.diff)) if view.diff else "",
        _section("Why", prose(view.justification)) if view.justification else "",
        _section("What to expect", prose(view.expected_effect)) if view.expected_effect else "",
        _section("Evidence", _evidence(view)) if view.evidence else "",
        _section("How to decide", _how_to_decide(view)) if pending else "",
    )


def _obstacle(view: ProposalView) -> str:
    if not view.obstacle:
        return ""
    until = f" until {_moment(view.expires_at)}" if view.expires_at else ""
    return (
        f"<p><b>It waits:</b> {line(view.obstacle, 1_000)}</p>"
        f"<p>It tries again by itself{until}, and goes on when that is mended. "
        "Nothing has to be decided again.</p>"
    )


def _deadline(view: ProposalView) -> str:
    by = f" by {_moment(view.expires_at)}" if view.expires_at else ""
    return (
        f"<p><b>Approve or reject it{by}</b>; how is said at the end of this page. Undecided, it expires and "
        "changes nothing. <i>Request Cancellation</i> decides nothing.</p>"
    )


def _evidence(view: ProposalView) -> str:
    figures = list(view.evidence.items())[:MOST_FIGURES]
    rows = [(line(key, 120), line(_value(value), 120)) for key, value in figures]
    source = f"<p>Proposed by {line(view.source)}.</p>" if view.source else ""
    return _table(rows) + _more(view.evidence, MOST_FIGURES) + source


def _how_to_decide(view: ProposalView) -> str:
    answer = json.dumps({"verdict": "approve", "approver": "", "proposal_digest": view.digest}, indent=2)
    own = f'"changes": {json.dumps({change.key: change.new for change in view.changes[:1]})}'
    return (
        _list(
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


# --- the dialogue -----------------------------------------------------------------------------------


def dialogue_details(transcript: Transcript) -> str:
    """How far an argument has come."""
    parts = [prose(transcript.task)]
    if transcript.speaking:
        parts.append(f"<p>Now: <b>{line(transcript.speaking)}</b></p>")
    if transcript.failure:
        parts.append(f"<p>Failed: <b>{line(transcript.failure, 1_000)}</b></p>")
    if transcript.plan:
        parts.append(_section("ALFRED's plan", prose(transcript.plan, 1_000)))
    if transcript.recalled_by:
        told = [f"{line(item.task, 160)} {_value(item.score)}" for item in transcript.recalled[:LATEST]]
        by = f"<p>By {line(transcript.recalled_by)}.</p>"
        recalled = _list(told or ["nothing that bears on this task"]) + _more(transcript.recalled, LATEST)
        parts.append(_section("What BABS recalled", recalled, by))
    if transcript.research:
        parts.append(_section("BABS's research", prose(transcript.research, 1_000)))
    if transcript.turns:
        last = transcript.turns[-1]
        turns = [(str(turn.turn), *_dissonance(turn.dissonance)) for turn in transcript.turns]
        parts += [
            _section("Thesis and antithesis", _table(turns, ("turn", "how far apart", "dissonance"))),
            _section(f"BRICK's thesis, turn {last.turn}", prose(last.thesis)),
            _section(f"ROBIN's antithesis, turn {last.turn}", prose(last.antithesis)),
        ]
    if transcript.synthesis:
        parts.append(_section("ALFRED's synthesis", prose(transcript.synthesis, BLOCK_BYTES)))
    by = f"Answered by {line(transcript.model_backend)}. " if transcript.model_backend else ""
    parts.append(f"<p>{by}The query <code>transcript</code>, on the tab Queries, shows every word.</p>")
    return _page(f"Task {line(transcript.task_id)}", *parts)


def inquiry_details(reason: str, goals: list[Goal], came_to: str = "") -> str:
    """What the personas would like to take on, what the others think of it, and which of it was taken."""
    rows = [(line(goal.goal), line(goal.why), goal.persona, _value(goal.score)) for goal in goals]
    return _page(
        "The personas look for a goal",
        prose(f"Because {reason}."),
        _section("Goals", _table(rows, ("goal", "why", "of", "score"))) if rows else "",
        _section("What came of it", prose(came_to)) if came_to else "",
    )


def _dissonance(dissonance: Dissonance) -> tuple[str, str]:
    label = (dissonance.label or f"none given {dissonance.missing}").replace("_", " ")
    return line(label, 160), _value(dissonance.value)
