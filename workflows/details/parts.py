"""What a page is made of: the current details of a workflow, under "User Metadata" in the Temporal Web UI.

A page is one HTML block without a blank line, because that alone wraps long lines and keeps the page short.
"""

import json
from collections.abc import Iterable, Sized
from datetime import UTC, datetime
from urllib.parse import quote

from messages.loops import Change
from workflows.details.text import PROSE_BYTES, line, prose

WORKFLOWS = "/namespaces/{namespace}/workflows"
LINK_BYTES = 160  # an image's name, `/task/` and a task id take 138 at most
LATEST = 5


def page(title: str, *parts: str) -> str:
    """A page of those parts that are not empty; `title` and `parts` are HTML."""
    refresh = "<p><i>Press R to bring this page up to date; that needs a running worker.</i></p>"
    # Only with its tags on lines of their own is the UI sure that all of it is HTML.
    return "\n".join(["<div>", f"<h2>{title}</h2>", *filter(None, parts), refresh, "</div>", ""])


def section(title: str, *parts: str) -> str:
    return f"<h3>{title}</h3>" + "".join(parts)


def told(title: str, text: str, limit: int = PROSE_BYTES) -> str:
    """A section with any text of many lines; nothing where there is none."""
    return section(title, prose(text, limit)) if text else ""


def listed(items: Iterable[str], kind: str = "ul") -> str:
    return f"<{kind}>" + "".join(f"<li>{item}</li>" for item in items) + f"</{kind}>"


def more(items: Sized, shown: int) -> str:
    """A word about the items beyond the first `shown`, if there are any."""
    left_out = len(items) - shown
    return f"<p>… and {left_out} more; a query shows them all</p>" if left_out > 0 else ""


def table(rows: Iterable[tuple[str, ...]], head: tuple[str, ...] = ()) -> str:
    pad = "\u2003"  # the UI's tables have no padding of their own
    titles = "".join(f'<th align="left">{cell}{pad}</th>' for cell in head)
    cells = ["".join(f"<td>{cell}{pad}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in [titles, *cells] if row) + "</table>"


def link(workflow_id: str, text: str) -> str:
    """A link to a workflow's page; the text alone where the id is too long to be one of ours."""
    address = quote(workflow_id, safe="")
    shown = line(text, 160)
    return shown if len(address) > LINK_BYTES else f'<a href="{WORKFLOWS}/{address}">{shown}</a>'


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def from_to(change: Change) -> str:
    key, old, new = line(change.key, 120), line(value_text(change.old), 80), line(value_text(change.new), 80)
    return f"<code>{key}</code> from {old} to <b>{new}</b>"


def value_text(value: object) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)
