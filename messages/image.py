"""What the image tells of itself, and its ledger."""

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel

from configuration import Value
from messages.common import LoopState, Phase
from messages.loops import Decided, Reasoned
from messages.tasks import PerformanceLog
from messages.verification import Verified


class SetAside(BaseModel):
    """A message that did not validate, kept where a person can see it."""

    what: str
    reason: str
    excerpt: str
    at: datetime


class ClosedChild(BaseModel):
    """A child that has ended without telling the image. `how` is Temporal's word for it."""

    workflow_id: str
    how: str


class Keeping(BaseModel):
    """How an image stands with its snapshots. `tried_at`: when the last one, good or not, was begun."""

    active_at: datetime | None = None
    tried_at: datetime | None = None
    saved_at: datetime | None = None
    generation: int = 0
    path: str = ""
    problem: str = ""


class Amendment(Reasoned, Decided):
    """One entry of the ledger: a change of the settings or of the conditions, or a loop that changed nothing.

    `digest_before` and `digest` name the settings before and after it, `conditions_before` and `conditions`
    what else arguments rested on; empty where nobody recorded them. `verified`: whether it helped, once that
    was told.
    """

    revision: int
    digest_before: str = ""
    digest: str = ""
    loop_id: str | None = None
    state: LoopState | Literal["adopted"]
    decided_at: datetime
    conditions_before: str = ""
    conditions: str = ""
    verified: Verified | None = None

    @property
    def changes_conditions(self) -> bool:
        return self.conditions_before != self.conditions


class Tally(BaseModel):
    """What the arguments under one set of settings and conditions came to, in sums.

    `measured` have a dissonance.
    """

    digest: str
    conditions: str = ""
    arguments: int = 0
    failed: int = 0
    measured: int = 0
    dissonance: float = 0.0
    turns: int = 0
    tokens: int = 0

    def add(self, log: PerformanceLog) -> None:
        self.arguments += 1
        if log.outcome == "failed":
            self.failed += 1
            return
        self.turns += log.turn_count
        self.tokens += log.tokens_in + log.tokens_out
        if log.final_dissonance is not None:
            self.measured += 1
            self.dissonance += log.final_dissonance

    def merge(self, other: Self) -> None:
        for name in type(self).model_fields.keys() - {"digest", "conditions"}:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Means(BaseModel):
    """Means over the arguments that did not fail; None where there is none."""

    arguments: int = 0
    failed: int = 0
    dissonance: float | None = None
    turns: float | None = None
    tokens: float | None = None

    @classmethod
    def of(cls, tally: Tally) -> Self:
        argued = tally.arguments - tally.failed
        return cls(
            arguments=tally.arguments,
            failed=tally.failed,
            dissonance=round(tally.dissonance / tally.measured, 3) if tally.measured else None,
            turns=round(tally.turns / argued, 2) if argued else None,
            tokens=round(tally.tokens / argued, 1) if argued else None,
        )


class HistoryEntry(BaseModel):
    """An amendment, and how arguments went under the settings before and after it."""

    amendment: Amendment
    before: Means
    after: Means


class SettingsView(BaseModel):
    revision: int
    digest: str
    values: dict[str, Value]


class Rated(BaseModel):
    """The answer to `rate_task`."""

    accepted: bool


class ReloadReceipt(BaseModel):
    revision: int
    digest: str
    changed: bool


class ImageStatus(BaseModel):
    """`obstacles`: of the loops that cannot get at settings.toml, what is in the way.

    `conditions` names the prompts, models and program of the latest argument. `figures`: what the arguments
    under the present settings came to. `verification`: how the change stands that is being verified.
    """

    image_id: str
    phase: Phase
    model_backend: str
    queued: int
    running: int
    finished: int
    failed: int
    waiting_loops: list[str]
    obstacles: dict[str, str] = {}
    window: int
    revision: int
    digest: str
    conditions: str = ""
    figures: Means = Means()
    started_at: datetime
    runs: int
    settings_problem: str = ""
    set_aside: list[SetAside] = []
    next_look_at: datetime | None = None
    next_goal_at: datetime | None = None
    last_inquiry: str = ""
    active_at: datetime | None = None
    saved_at: datetime | None = None
    saved_generation: int = 0
    snapshot_problem: str = ""
    verification: str = ""
