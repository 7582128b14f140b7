"""The philosophical loop: from a proposal to how it ended."""

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, model_validator

from configuration import Settings, Value
from messages.common import CONCLUSION_BYTES, LoopState
from messages.tasks import PerformanceLog


class Change(BaseModel):
    key: str
    old: Value
    new: Value


class Proposal(BaseModel):
    """A change the optimizer asks for. `evidence` holds the figures that the justification uses."""

    changes: list[Change]
    justification: str
    expected_effect: str
    evidence: dict[str, Value | None]
    source: str


class OptimizerRequest(BaseModel):
    """All that a proposer may know: the window of logs, the present settings and their digest."""

    window: list[PerformanceLog]
    settings: Settings
    settings_digest: str


class OptimizerAnswer(BaseModel):
    """A proposal, or the reason why there is none."""

    proposal: Proposal | None = None
    reason: str = ""


class LoopStart(BaseModel):
    image_id: str
    loop_id: str
    window: list[PerformanceLog]
    settings: Settings
    settings_digest: str


class ProposalView(BaseModel):
    """The answer to the query `proposal`. `state` is analysing, pending, rewriting or how it ended.

    `obstacle`: what keeps a loop that is analysing or rewriting from settings.toml, and what to do about it.
    """

    loop_id: str
    state: Literal["analysing", "pending", "rewriting"] | LoopState
    digest: str = ""
    changes: list[Change] = []
    diff: str = ""
    justification: str = ""
    expected_effect: str = ""
    evidence: dict[str, Value | None] = {}
    source: str = ""
    expires_at: datetime | None = None
    obstacle: str = ""
    reason: str = ""
    decided_by: str = ""
    decided_at: datetime | None = None
    comment: str = ""


class LoopWaits(BaseModel):
    """From a loop to the image: what keeps it from settings.toml, or that nothing does any more."""

    loop_id: str
    obstacle: str = ""


class LoopConcluded(BaseModel):
    """How a loop ended: its result, the answer to `decide`, and its signal to the image.

    `task_ids` are the logs it judged.
    """

    loop_id: str
    state: LoopState
    reason: str = ""
    source: str = ""
    changes: list[Change] = []
    decided_by: str = ""
    comment: str = ""
    decided_at: datetime
    task_ids: list[str] = []
    justification: str = ""

    @model_validator(mode="after")
    def _fits_the_ledger(self) -> Self:
        kept = self.model_dump_json(exclude={"reason", "task_ids", "justification"})
        if len(kept.encode()) > CONCLUSION_BYTES:
            raise ValueError(f"a conclusion is at most {CONCLUSION_BYTES} bytes of JSON")
        return self


class LoopReceipt(BaseModel):
    loop_id: str
