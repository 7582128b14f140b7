"""Any text made safe to show in the Temporal Web UI.

The UI takes Markdown and lets raw HTML pass; it also replaces `{...}`, even inside code. So every text that
comes from a model, a person or a file goes through `line`, `prose`, `block`, `diff_block` or `summary`, or it
could hide part of a proposal from the person who approves it.
"""

import re
import string
from collections.abc import Iterable

from messages.common import excerpt
from messages.visible import visible

# The UI is quick with pages below 20,000 bytes. These limits, and those of the pages on how many entries they
# show, keep the fullest page of each kind under that.
LINE_BYTES = 240
PROSE_BYTES = 2_000
BLOCK_BYTES = 4_000
MOST_LINES = 60
# The UI shows a summary of at most this length.
SUMMARY_BYTES = 200

# Both are readable on the UI's light and dark pages; "-" and "+" are escaped.
RED, GREEN = "#c62828", "#2e7d32"
_COLOURS = {"&#45;": RED, "&#43;": GREEN}
_BREAK, _NEWLINE = "<br>", "&#10;"  # a real newline could leave a blank line, which would end the HTML
_HALF_AN_ESCAPE = re.compile("&[^;]*$")
_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")
_LOOKALIKES = {ord(char): ord(char) + 0xFEE0 for char in "<>{}[]$`\\|*_#~"}  # their full-width forms
_CUT = "… cut here; a query shows all of it"


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


def _preformatted(lines: Iterable[str]) -> str:
    return "<pre wrap><code>" + _NEWLINE.join(lines) + "</code></pre>"


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
