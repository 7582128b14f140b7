"""What the optimizer learns from, and what was tried before a person is asked."""

import operator
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from configuration import Value
from messages.common import Outcome

MOST_FLIPS = 0.3
"""The share of flips above which a judge goes by the place of an answer more than by what it says."""
MATCHED = 0.8
"""How much shorter than the other an answer may be to count as equally long: judges like long ones."""


class Moments(BaseModel):
    """Count, mean and squared deviations of one figure (Welford), which can be added up (Chan et al.)."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0

    def add(self, value: float) -> None:
        self.merge(Moments(n=1, mean=value))

    def merge(self, other: Self) -> None:
        n = self.n + other.n
        if not other.n:
            return
        apart = other.mean - self.mean
        self.mean += apart * other.n / n
        self.m2 += other.m2 + apart * apart * self.n * other.n / n
        self.n = n

    def remove(self, value: float) -> None:
        """Take back a value that was added."""
        n = self.n - 1
        if n < 1:
            self.n, self.mean, self.m2 = 0, 0.0, 0.0
            return
        mean = self.mean + (self.mean - value) / n
        self.m2 = max(0.0, self.m2 - (value - mean) * (value - self.mean))
        self.n, self.mean = n, mean

    @property
    def variance(self) -> float | None:
        """Of the sample; None below two."""
        return self.m2 / (self.n - 1) if self.n > 1 else None


class Observation(BaseModel):
    """A row of the optimizer's table: how arguments under one set of values and conditions went in one batch.

    `batch`: what ran at about the same time, a window of 40 tasks or one round of trials; `paired`: its rows
    argued the same tasks. `values`: what may be tuned. `dissonance`, `tokens`: by type of task, of arguments
    whose dissonance was measured. `failed` and `unmeasured` ones are counted and no data.
    """

    digest: str
    conditions: str = ""
    batch: int = 0
    paired: bool = False
    values: dict[str, Value] = {}
    dissonance: dict[str, Moments] = {}
    tokens: dict[str, Moments] = {}
    seconds: Moments = Moments()
    rating: Moments = Moments()
    failed: int = 0
    unmeasured: int = 0
    since: datetime | None = None


class Effect(BaseModel):
    """What a change is expected to do to the loss of a task, by the posterior; a gain lowers it.

    `low` and `high` bound the gain with probability .9; `better`, `worse`: the probabilities of a gain above
    0, and of a loss of more than .05.
    """

    gain: float
    low: float
    high: float
    better: float
    worse: float

    def __str__(self) -> str:
        return (
            f"gain {self.gain:+.3f}, with probability .9 between {self.low:+.3f} and {self.high:+.3f}; "
            f"better with probability {self.better:.2f}, worse by more than .05 with {self.worse:.2f}"
        )


class Candidate(BaseModel):
    """A set of values worth trying: those that differ from the present ones, and where it comes from.

    `source`: "screening" where it is tried for what its keys do, and no person may be asked for it.
    """

    values: dict[str, Value]
    source: Literal["surrogate", "creator", "screening"] = "surrogate"
    reason: str = ""
    effect: Effect | None = None

    def __str__(self) -> str:
        values = ", ".join(f"{key} = {value}" for key, value in self.values.items())
        return f"only to learn from: {values}" if self.source == "screening" else values


class Replay(BaseModel):
    """One recorded task argued once more. `arm` 0: under the present settings; n: the n-th candidate's.

    `recorded`: it was not argued again, but is what the task came to when a person asked.
    """

    task_id: str
    arm: int
    outcome: Outcome
    task_type: str = "question"
    dissonance: float | None = None
    tokens: int = 0
    seconds: float = 0.0
    recorded: bool = Field(default=False, exclude_if=operator.not_)

    def __str__(self) -> str:
        if self.outcome == "failed":
            return "failed"
        dissonance = "none" if self.dissonance is None else f"{self.dissonance:.2f}"
        told = f"{dissonance}, {self.tokens}"
        return f"{told}, recorded" if self.recorded else told


class Round(BaseModel):
    """One round of trials: what the same tasks came to under each candidate and the present settings."""

    candidates: list[Candidate] = []
    replays: list[Replay] = []

    @property
    def argued(self) -> list[Replay]:
        """Those that took tokens: not the ones that are on record."""
        return [replay for replay in self.replays if not replay.recorded]

    def observed(self, arm: int, **row: Any) -> Observation:
        """What one arm came to, as a row of the optimizer's table; `row` says the rest of it."""
        found = Observation(paired=True, **row)
        for replay in self.replays:
            if replay.arm != arm:
                continue
            if replay.dissonance is None:
                found.failed += replay.outcome == "failed"
                found.unmeasured += replay.outcome != "failed"
                continue
            found.dissonance.setdefault(replay.task_type, Moments()).add(replay.dissonance)
            found.tokens.setdefault(replay.task_type, Moments()).add(replay.tokens)
            found.seconds.add(replay.seconds)
        return found

    def heads(self) -> list[str]:
        """Those of a table of this round: the task, the present settings, the number of each candidate."""
        return ["task", "present", *map(str, range(1, len(self.candidates) + 1))]

    def rows(self) -> list[list[str]]:
        """A row for each task: what it came to under the present settings and under each candidate."""
        cells: dict[str, list[str]] = {}
        for replay in self.replays:
            row = cells.setdefault(replay.task_id, [""] * (len(self.candidates) + 1))
            row[replay.arm] = str(replay)
        return [[task_id, *row] for task_id, row in cells.items()]


Better = Literal["first", "second", "same"]


class Judged(BaseModel):
    """Which of two answers is better, asked twice with the order swapped; disagreement is a tie.

    `flips`: pairs of which it took the first one, or the second one, both times. `matched_*`: among pairs
    whose lengths differ by at most a fifth. Muted: it flips so often that it is not listened to.
    """

    model: str = ""
    wins: int = 0
    ties: int = 0
    losses: int = 0
    flips: int = 0
    matched_wins: int = 0
    matched_losses: int = 0

    @property
    def pairs(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def muted(self) -> bool:
        return self.flips > MOST_FLIPS * self.pairs

    def __str__(self) -> str:
        share = f"{self.flips / self.pairs:.0%}" if self.pairs else "none"
        told = (
            f"{self.wins} better, {self.ties} alike, {self.losses} worse of {self.pairs} pairs; of equal "
            f"length {self.matched_wins} better, {self.matched_losses} worse; {self.flips} flipped with the "
            f"order ({share})"
        )
        return f"{told}, too many to listen to" if self.muted else told

    def add(self, in_order: Better, swapped: Better, lengths: tuple[int, int]) -> None:
        """One pair: what was said of it with this side first, then with this side second."""
        self.flips += in_order == swapped != "same"
        won, lost = (in_order, swapped) == ("first", "second"), (in_order, swapped) == ("second", "first")
        self.wins += won
        self.losses += lost
        self.ties += not (won or lost)
        if min(lengths) >= MATCHED * max(lengths):
            self.matched_wins += won
            self.matched_losses += lost


class RecordedTasks(BaseModel):
    """The order to find recorded tasks of an image in their histories: those that are still there."""

    image_id: str
    task_ids: list[str]


class Provenance(BaseModel):
    """What a proposal was computed from: enough to compute it again."""

    inputs: str
    seed: int
    versions: dict[str, str]

    def __str__(self) -> str:
        libraries = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"inputs {self.inputs}, seed {self.seed}, {libraries}"
