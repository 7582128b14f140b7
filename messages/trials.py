"""What the optimizer learns from, and what was tried before a person is asked."""

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel

from configuration import Value
from messages.common import Outcome


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

    @property
    def variance(self) -> float | None:
        """Of the sample; None below two."""
        return self.m2 / (self.n - 1) if self.n > 1 else None


class Observation(BaseModel):
    """A row of the optimizer's table: how arguments under one set of values and conditions went in one batch.

    `batch`: what ran at about the same time, a window of 40 tasks or one round of trials; `paired`: its rows
    argued the same tasks. `values`: what may be tuned. `dissonance`, `tokens`: by type of task, of arguments
    whose dissonance was measured.
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


class Candidate(BaseModel):
    """A set of values worth trying: those that differ from the present ones, and where it comes from."""

    values: dict[str, Value]
    source: Literal["surrogate", "creator"] = "surrogate"
    reason: str = ""
    effect: Effect | None = None


class Replay(BaseModel):
    """One recorded task argued once more. `arm` 0: under the present settings; n: the n-th candidate's."""

    task_id: str
    arm: int
    outcome: Outcome
    task_type: str = "question"
    dissonance: float | None = None
    tokens: int = 0
    seconds: float = 0.0


class Round(BaseModel):
    """One round of trials: what the same tasks came to under each candidate and the present settings."""

    candidates: list[Candidate] = []
    replays: list[Replay] = []


class Judged(BaseModel):
    """Which of two answers is better, asked twice with the order swapped; disagreement is a tie.

    `matched_*`: among pairs whose lengths differ by at most a fifth. `flips`: pairs on which it disagreed.
    """

    model: str = ""
    wins: int = 0
    ties: int = 0
    losses: int = 0
    flips: int = 0
    matched_wins: int = 0
    matched_losses: int = 0
    muted: bool = False


class Provenance(BaseModel):
    """What a proposal was computed from: enough to compute it again."""

    inputs: str
    seed: int
    versions: dict[str, str]
