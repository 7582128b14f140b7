"""What the Web UI shows of each workflow under "User Metadata": Markdown for its current details.

The UI renders raw HTML and replaces `{...}` even inside code. Text from models, people and files therefore
goes through `plain` or `block`, or it could hide part of a proposal from the person who approves it.
"""

import html
import json
import unicodedata
from collections.abc import Iterable

from messages import ProposalView, Transcript
from workflows.image_state import ImageState

INBOX = "[everything that waits for a person](/namespaces/{namespace}/workflows?query=NeedsHuman%3Dtrue)"
REFRESH = "*Press R to refresh this page; it needs a running worker.*"
# The UI stays quick below 20,000 bytes. No page holds more than four blocks.
BLOCK_BYTES = 4_000

_RED, _GREEN = "#c62828", "#2e7d32"  # readable on the UI's light and dark pages alike


def _visible(text: str) -> str:
    """Control and formatting characters made visible: some reorder or hide the text around them."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf") else "�" for char in text
    )


def plain(text: object) -> str:
    """Any text on one line, as itself: nothing in it is Markdown, HTML or a placeholder."""
    line = " ".join(_visible(str(text)).split())
    return "".join(char if char.isalnum() or char == " " else f"&#{ord(char)};" for char in line)


def _code(text: str) -> str:
    return html.escape(text).replace("{", "&#123;").replace("}", "&#125;")


def block(text: str, limit: int = BLOCK_BYTES) -> str:
    """Any text of many lines, as itself, cut at about `limit` bytes."""
    return _preformatted(_code(line) for line in _cut(text, limit))


def diff_block(diff: str) -> str:
    """A unified diff in red and green."""
    colours = {"+": _GREEN, "-": _RED}
    return _preformatted(
        f'<font color="{colours[line[0]]}">{_code(line)}</font>' if line[:1] in colours else _code(line)
        for line in _cut(diff, BLOCK_BYTES)
    )


def _preformatted(lines: Iterable[str]) -> str:
    return "<pre><code>" + "\n".join(lines) + "</code></pre>"


def _cut(text: str, limit: int) -> list[str]:
    shown, room = [], limit
    lines = _visible(text).splitlines()
    for line in lines:
        room -= len(_code(line).encode())
        if room < 0:
            shown.append("… cut here; a query shows all of it")
            break
        shown.append(line)
    return shown


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    pad = "\u2003"  # the UI's tables have no padding of their own
    lines = [head, tuple("---" for _ in head), *(tuple(plain(cell) + pad for cell in row) for row in rows)]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def image_details(state: ImageState) -> str:
    """What the image is, what it does and what it waits for."""
    status = state.status()
    waiting = [
        f"- [{plain(loop)}](/namespaces/{{namespace}}/workflows/{loop.replace('/', '%2F')}) "
        "has a proposal, or is working one out"
        for loop in state.open_loops
    ]
    rows = [
        ("phase", status.phase),
        ("model", status.model_backend or "none has answered yet"),
        ("tasks", f"{status.running} running, {status.queued} queued, {status.finished} finished"),
        ("of these failed", status.failed),
        ("logs in the window", status.window),
        ("settings", f"revision {status.revision}, digest {status.digest}"),
    ]
    parts = [
        f"## Living image {plain(state.image_id)}",
        _table(("", ""), rows),
        "### Waits for a person\n\n" + ("\n".join(waiting) or "Nothing.") + f"\n\nThe inbox: {INBOX}",
        "### What to do here\n\n**More Actions > Send an Update**: `submit_task` gives it a task, `reflect` "
        "makes it look at its logs now, `pause`, `resume` and `retire` do what they say. "
        "*Request Cancellation* changes nothing: the image outlives it.",
    ]
    if state.settings_problem:
        parts.insert(2, "### settings.toml was refused\n\n" + block(state.settings_problem))
    if state.set_aside:
        aside = [(item.at.isoformat(timespec="seconds"), item.what, item.reason) for item in state.set_aside]
        parts.append(
            "### Set aside: messages that did not validate\n\n" + _table(("when", "what", "why"), aside)
        )
    return "\n\n".join([*parts, REFRESH])


def loop_details(view: ProposalView) -> str:
    """A proposal as a person decides it: what would change, why, and what to click."""
    title = f"## {plain(view.loop_id)}: {plain(view.state.replace('_', ' '))}"
    if view.state == "analysing":
        return "\n\n".join([title, "The image looks at its logs. Nothing to decide yet.", REFRESH])
    ended = []
    if view.reason:
        ended.append(f"Reason: {plain(view.reason)}")
    if view.decided_by:
        ended.append(f"Decided by {plain(view.decided_by)}. {plain(view.comment)}")
    if not view.changes:
        return "\n\n".join([title, *ended])
    parts = [
        title,
        *ended,
        "### The change to settings.toml\n\n" + diff_block(view.diff),
        "### Why\n\n" + block(view.justification),
        "### What to expect\n\n" + block(view.expected_effect),
        "### Evidence\n\n" + _table(("figure", ""), view.evidence.items()),
        f"Proposed by: {plain(view.source)}",
    ]
    if view.state == "pending":
        parts.insert(1, _how_to_decide(view))
    return "\n\n".join([*parts, REFRESH])


def _how_to_decide(view: ProposalView) -> str:
    answer = json.dumps(
        {"verdict": "approve", "approver": "your name", "proposal_digest": view.digest}, indent=2
    )
    until = view.expires_at.isoformat(timespec="minutes") if view.expires_at else ""
    return (
        f"**A person must decide until {plain(until)}.** Choose **More Actions > Send an Update**, the "
        f"update `decide`, and this as its data (or `reject` as the verdict):\n\n{block(answer)}\n\n"
        "*Request Cancellation* decides nothing: the proposal goes on waiting."
    )


def dialogue_details(transcript: Transcript) -> str:
    """How far an argument has come."""
    rows = [
        (
            turn.turn,
            turn.dissonance.label or "none given",
            "" if turn.dissonance.value is None else turn.dissonance.value,
        )
        for turn in transcript.turns
    ]
    parts = [f"## Task {plain(transcript.task_id)}", block(transcript.task, 2_000)]
    if transcript.speaking:
        parts.append(f"Now: {plain(transcript.speaking)}")
    if rows:
        parts.append(_table(("turn", "thesis and antithesis", "dissonance"), rows))
    if transcript.synthesis:
        parts.append("### Synthesis\n\n" + block(transcript.synthesis))
    return "\n\n".join([*parts, "The query `transcript` shows every word.", REFRESH])
