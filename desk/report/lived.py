"""What a report is made from: all that could be read of an image, and what could not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Self

from desk.plots.pictures import count
from messages.common import Outcome
from messages.image import Amendment
from messages.loops import ProposalView
from messages.tasks import PerformanceLog
from optimizer.goals import Goals
from workflows.image_state import ImageState

MOST_TASKS = 2_000
"""The latest tasks whose results are read."""


class Argument(NamedTuple):
    """What one argument came to; None where nobody told. `tokens`: read and written."""

    task_id: str
    outcome: Outcome
    ended_at: datetime
    seconds: float
    dissonance: float | None = None
    turns: int | None = None
    tokens: tuple[int, int] | None = None
    models: tuple[str, ...] = ()

    @classmethod
    def of(cls, log: PerformanceLog, ended_at: datetime, models: Sequence[str] = ()) -> Self:
        return cls(
            task_id=log.task_id,
            outcome=log.outcome,
            ended_at=ended_at,
            seconds=log.seconds,
            dissonance=log.final_dissonance,
            turns=log.turn_count,
            tokens=(log.tokens_in, log.tokens_out),
            models=tuple(sorted(models)),
        )


class Spent(NamedTuple):
    """What the calls of one model for one persona took."""

    persona: str
    model: str
    calls: int
    tokens_in: int
    tokens_out: int
    seconds: float

    def plus(self, other: Self) -> Self:
        return self._replace(
            calls=self.calls + other.calls,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Found:
    """How far the records reached.

    tasks           finished tasks that the server lists or whose logs are in the window
    older           of these, how many were left out as older than the latest
    unreadable      of those that were read, how many had no result any more
    no_time         logs that tell no time
    loops_gone      loops that the server does not know any more
    loops_silent    and those that could not answer, with why
    """

    tasks: int = 0
    older: int = 0
    unreadable: int = 0
    no_time: int = 0
    loops_gone: list[str] = field(default_factory=list)
    loops_silent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Life:
    """All that was read of an image.

    ended           Temporal's word for how its workflow ended; nothing while it lives
    arguments       in the order in which they ended
    loops           the loops of the ledger and the open ones, by their ids
    spent           of the latest `spent_of` tasks, by persona and model
    """

    state: ImageState
    ended: str
    written_at: datetime
    arguments: list[Argument] = field(default_factory=list)
    loops: dict[str, ProposalView] = field(default_factory=dict)
    spent: list[Spent] = field(default_factory=list)
    spent_of: int = 0
    found: Found = Found()

    @property
    def ledger(self) -> list[Amendment]:
        return self.state.ledger.amendments

    @property
    def goals(self) -> Goals:
        return Goals.of(self.state.settings)

    def name_of(self, loop_id: str | None) -> str:
        """As one types it; nothing for no loop."""
        return (loop_id or "").removeprefix(f"{self.state.image_id}/")

    @property
    def until(self) -> datetime:
        """The end of its time axis: now, or the last that happened to an image that has ended."""
        if not self.ended:
            return self.written_at
        known = [argument.ended_at for argument in self.arguments]
        known += [entry.decided_at for entry in self.ledger]
        return max([self.state.started_at, self.state.keeping.active_at or self.state.started_at, *known])


def missing(life: Life) -> list[str]:
    """What was not there to be read, in sentences."""
    state, found = life.state, life.found
    lost = state.finished_count - found.tasks
    entered = sum(entry.loop_id is not None for entry in life.ledger)
    left = state.next_loop - 1 - len(state.open_loops) - entered
    gone = ", ".join(found.loops_gone)
    told = [
        (
            lost,
            f"{lost:,} of {state.finished_count:,} finished tasks: the server has no dialogue of theirs. Its "
            "retention is over, or they never became one. The table of observations has means of them.",
        ),
        (found.older, f"{count(found.older, 'older task')}: only the latest {MOST_TASKS:,} are read."),
        (found.unreadable, f"{count(found.unreadable, 'result')} that the server lists and does not have."),
        (found.no_time, f"{count(found.no_time, 'log')} from outside without a time."),
        (state.observing.left, f"{count(state.observing.left)} that left the table of observations."),
        (left, f"{count(left, 'loop')} that left the ledger."),
        (len(found.loops_gone), f"Trials and findings of loops that the server no longer has: {gone}."),
    ]
    silent = [f"{loop_id}, which could not be asked: {why}." for loop_id, why in found.loops_silent.items()]
    return [sentence for n, sentence in told if n > 0] + silent
