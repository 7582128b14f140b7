"""How the desk shows an argument while it goes on: what has been said, and the words as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.text import Text

from desk.rendering import dissonance, recalled, spoken, words

if TYPE_CHECKING:
    from messages.calls import Heard
    from messages.tasks import Transcript

MOST_LINES = 12
"""Of words as they come: what is complete stands above them."""


def pieces(of: Transcript) -> list[RenderableType]:
    """All that has been said completely, in its order: later transcripts only have more of it."""
    told: list[RenderableType] = []
    if of.plan:
        told.append(spoken("ALFRED", of.plan))
    if of.recalled_by:
        told.append(recalled(of.recalled, of.recalled_by))
    if of.research:
        told.append(spoken("BABS", of.research))
    for turn in of.turns:
        told += [_thesis(turn.turn, turn.thesis), spoken("ROBIN", turn.antithesis)]
        told.append(Group(Text("  dissonance: ").append_text(dissonance(turn.dissonance)), Text()))
    if of.thesis:
        told.append(_thesis(len(of.turns) + 1, of.thesis))
    if of.antithesis:
        told.append(spoken("ROBIN", of.antithesis))
    return told


def under_way(speaking: str, heard: Heard | None, console: Console) -> RenderableType:
    """Who speaks, and the last lines of what is being said."""
    head = words(speaking)
    if heard is None:
        return head
    if not heard.said:
        return head.append_text(words(f"  {heard.state}", "dim")) if heard.state else head
    return Group(head, *last_lines(heard, console, min(MOST_LINES, max(console.height - 4, 1))))


def last_lines(heard: Heard, console: Console, most: int) -> list[Text]:
    """The last lines of what is being said, as wide as the console is."""
    said = words(("…" if heard.before else "") + heard.said)
    lines = said.wrap(console, max(console.width - 6, 10))
    return [Text.assemble("  ", line) for line in lines[-most:]] if most > 0 else []


def _thesis(turn: int, said: str) -> RenderableType:
    return Group(Text(f"Turn {turn}", "bold"), spoken("BRICK", said))
