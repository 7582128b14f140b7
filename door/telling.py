"""What of an argument is told to whoever asked, word by word and each word once. Pure: no Temporal."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from door.image import View
from messages.calls import Heard
from messages.tasks import Dissonance, Transcript

Field = Literal["reasoning_content", "content"]
Delta = tuple[Field, str]

SAID_ANEW = "\n\n(That was broken off. Said anew:)\n"


class Words:
    """One text on its way: what of it was sent, though a call of a model may begin it anew."""

    def __init__(self) -> None:
        self._sent = ""
        self._astray = False

    def more(self, said: str, before: int = 0) -> str:
        """What is new in the end of a text, of which `before` characters are left out; nothing if it differs.

        A gap is filled once the text is complete.
        """
        known = self._sent[before:]
        if self._astray or before > len(self._sent) or known.startswith(said):
            return ""
        if not said.startswith(known):
            self._astray = True
            return ""
        self._sent += said[len(known) :]
        return said[len(known) :]

    def rest(self, text: str) -> str:
        """What is still to be sent of the complete text; all of it if other words were sent."""
        if text.startswith(self._sent):
            return text[len(self._sent) :]
        return SAID_ANEW + text


@dataclass(frozen=True)
class Piece:
    """A part of the argument under its heading; the synthesis has none."""

    heading: str
    text: str = ""

    @property
    def field(self) -> Field:
        return "reasoning_content" if self.heading else "content"


class Told:
    """What one who asked has been told of a task."""

    def __init__(self, task_id: str) -> None:
        self._task_id = task_id
        self._place = 0
        self._is_paused = False
        self._is_argued = False
        self._complete = 0
        self._heading: str | None = None
        self._words = Words()

    def news(self, view: View) -> Iterator[Delta]:
        """What a view has that was not told yet."""
        if view.transcript is None:
            if not view.is_over:
                yield from self._wait(view)
            return
        if not self._is_argued:
            self._is_argued = True
            yield "reasoning_content", f"Task {self._task_id} is argued out.\n"
        complete = pieces(view.transcript)
        for piece in complete[self._complete :]:
            yield from self._begin(piece)
            yield piece.field, self._words.rest(piece.text) + ("\n" if piece.heading else "")
            self._heading = None
        self._complete = len(complete)
        if view.heard and (begun := _under_way(view.transcript, view.heard)):
            yield from self._begin(begun)
            if words := self._words.more(view.heard.said, view.heard.before):
                yield begun.field, words

    def _wait(self, view: View) -> Iterator[Delta]:
        if view.place and view.place != self._place:
            self._place = view.place
            yield "reasoning_content", f"Task {self._task_id} waits in the queue, place {view.place}.\n"
        if view.paused != self._is_paused:
            self._is_paused = view.paused
            how = "is paused: the task waits until it is resumed" if view.paused else "is resumed"
            yield "reasoning_content", f"The image {how}.\n"

    def _begin(self, piece: Piece) -> Iterator[Delta]:
        """The heading of a piece, unless it was begun already."""
        if piece.heading != self._heading:
            self._heading, self._words = piece.heading, Words()
            if piece.heading:
                yield piece.field, f"\n{piece.heading}\n"


def pieces(of: Transcript) -> list[Piece]:
    """All that has been said completely, in its order: later transcripts only have more of it."""
    told = [Piece("ALFRED plans:", of.plan)] if of.plan else []
    if of.research:
        told.append(Piece("BABS:", of.research))
    for turn in of.turns:
        told += _turn(turn.turn, turn.thesis, turn.antithesis)
        told.append(Piece(f"Turn {turn.turn}, dissonance:", _words_for(turn.dissonance)))
    told += _turn(len(of.turns) + 1, of.thesis, of.antithesis)
    if of.synthesis:
        told.append(Piece("", of.synthesis))
    return told


def _turn(number: int, thesis: str = "", antithesis: str = "") -> list[Piece]:
    said = {"BRICK": thesis, "ROBIN": antithesis}
    return [Piece(f"Turn {number}, {who}:", text) for who, text in said.items() if text]


def _under_way(of: Transcript, heard: Heard) -> Piece | None:
    """The piece that whoever is heard has begun; None where the two do not belong together (any more)."""
    heading = None
    match heard.persona:
        case "ALFRED" if not of.plan:
            heading = "ALFRED plans:"
        case "ALFRED" if of.turns and not of.thesis and not of.synthesis:
            heading = ""
        case "BABS" if of.plan and not of.research:
            heading = "BABS:"
        case "BRICK" if of.plan and not of.thesis:
            heading = f"Turn {len(of.turns) + 1}, BRICK:"
        case "ROBIN" if of.thesis:
            heading = f"Turn {len(of.turns) + 1}, {'dissonance' if of.antithesis else 'ROBIN'}:"
    return None if heading is None else Piece(heading)


def _words_for(dissonance: Dissonance) -> str:
    if dissonance.value is None:
        return f"not measured ({dissonance.missing})"
    return f"{dissonance.value:g} ({dissonance.label})"
