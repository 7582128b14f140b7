"""The philosophical loop: from a proposal to how it ended."""

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, model_validator

from configuration import Settings, Value
from messages.common import CONCLUSION_BYTES, LoopState
from messages.signatures import Signatures
from messages.tasks import PerformanceLog
from messages.trials import Candidate, Effect, Judged, Observation, Provenance, Round


class Change(BaseModel):
    key: str
    old: Value
    new: Value


class Reasoned(BaseModel):
    """A change of the settings and the reason for it: it travels from the proposer into the ledger."""

    source: str = ""
    changes: list[Change] = []
    justification: str = ""


class Proposal(Reasoned):
    """A change the optimizer asks for.

    evidence        the figures that the justification uses
    effect          what is expected of it, by the posterior
    mode            degraded: something a proposal rests on could not be looked at, see `not_evaluated`
    rounds          the trials, task by task, with all candidates
    judged          its answers in the trials against the present ones
    single          the team's answers against those of one call of the same model
    importance      how much of the variation of the loss each key accounts for, in shares
    trial_tokens    what the trials cost
    provenance      how to compute it again; none for a person's
    """

    expected_effect: str = ""
    evidence: dict[str, Value | None] = {}
    effect: Effect | None = None
    mode: Literal["full", "degraded"] = "full"
    not_evaluated: list[str] = []
    rounds: list[Round] = []
    judged: Judged | None = None
    single: Judged | None = None
    importance: dict[str, float] = {}
    trial_tokens: int = 0
    provenance: Provenance | None = None

    def findings(self) -> dict[str, str]:
        """All that was found beside the trials, in words: a line for each thing that was looked at."""
        shares = sorted(self.importance.items(), key=lambda share: -share[1])
        found = {
            "expected": str(self.effect) if self.effect else "",
            "its answers against the present ones": str(self.judged) if self.judged else "",
            "the team's answers against single ones": str(self.single) if self.single else "",
            "what each key matters": ", ".join(f"{key} {share:.0%}" for key, share in shares),
            "cost of the trials": f"{self.trial_tokens} tokens" if self.trial_tokens else "",
            "mode": self.mode if self.provenance else "",
            "not looked at": "; ".join(self.not_evaluated),
            "computed from": str(self.provenance) if self.provenance else "",
        }
        return {name: words for name, words in found.items() if words}


class Decided(BaseModel):
    """Who decided, with which words, and why nothing came of it: it travels from the loop into the ledger."""

    reason: str = ""
    decided_by: str = ""
    comment: str = ""


class Past(Decided):
    """An earlier change or proposal, and how it ended, under the settings that `digest` names."""

    changes: list[Change] = []
    state: str
    digest: str = ""

    def __str__(self) -> str:
        what = ", ".join(f"{change.key} {change.old} -> {change.new}" for change in self.changes)
        why = "; ".join(filter(None, (self.reason, self.comment)))
        return f"{what}: {self.state}" + (f" ({why})" if why else "")


class OptimizerRequest(BaseModel):
    """All that a proposer may know: the present settings, the observations, and what was tried so far.

    created         the Creator's candidates
    rounds          the trials so far; the first is still to come where there is none
    judged          for each candidate of the last round, in order: its answers against the present ones, or
                    None where nobody compared them
    may_try         whether recorded tasks can be replayed
    may_end_early   whether what is good enough after the first round may be proposed without a second one
    not_evaluated   what could not be looked at, for the approver
    trial_tokens    what the Creator, the trials and the judge have taken
    past            earlier changes and proposals; what a person declined is not asked for again
    """

    window: list[PerformanceLog]
    settings: Settings
    settings_digest: str
    conditions: str = ""
    observations: list[Observation] = []
    created: list[Candidate] = []
    rounds: list[Round] = []
    judged: list[Judged | None] = []
    single: Judged | None = None
    may_try: bool = True
    may_end_early: bool = False
    not_evaluated: list[str] = []
    trial_tokens: int = 0
    past: list[Past] = []
    seed: int = 0


class OptimizerAnswer(BaseModel):
    """Candidates to try next, a proposal, or why there is none. `top`: the best by numbers alone."""

    candidates: list[Candidate] = []
    top: list[Candidate] = []
    proposal: Proposal | None = None
    reason: str = ""


class LoopStart(BaseModel):
    """What a loop looks at. `held`: the image is paused, and trials wait.

    `proposal`: one that is there already, so that nothing is looked at. `urgent`: a change does harm.
    """

    image_id: str
    loop_id: str
    window: list[PerformanceLog]
    settings: Settings
    settings_digest: str
    conditions: str = ""
    observations: list[Observation] = []
    past: list[Past] = []
    held: bool = False
    proposal: Proposal | None = None
    urgent: bool = False


class Hold(BaseModel):
    """From the image to its loops: whether trials wait, since a person has paused it."""

    held: bool = False


class ProposalView(Proposal, Decided):
    """The answer to the query `proposal`. `state` is analysing, trying, pending, rewriting or how it ended.

    `obstacle`: what keeps a loop that is analysing or rewriting from settings.toml, and what to do about it.
    `urgent`: the image has found that a change does harm. `notice`: whether a person was told, and how.
    `signatures`: where only some may decide, who has signed and what did not count.
    """

    loop_id: str
    state: Literal["analysing", "trying", "pending", "rewriting"] | LoopState
    digest: str = ""
    diff: str = ""
    expires_at: datetime | None = None
    obstacle: str = ""
    decided_at: datetime | None = None
    urgent: bool = False
    notice: str = ""
    signatures: Signatures = Signatures()


class LoopWaits(BaseModel):
    """From a loop to the image: what keeps it from settings.toml, or that nothing does any more."""

    loop_id: str
    obstacle: str = ""


class LoopConcluded(Reasoned, Decided):
    """How a loop ended: its result, the answer to `decide`, and its signal to the image.

    `task_ids` are the logs it judged, `observed` what its trials came to: a row for each set of values.
    `expected`: what an approved change is expected to do, where it is the proposed one.
    """

    loop_id: str
    state: LoopState
    decided_at: datetime
    task_ids: list[str] = []
    observed: list[Observation] = []
    expected: Effect | None = None

    @model_validator(mode="after")
    def _fits_the_ledger(self) -> Self:
        kept = self.model_dump_json(exclude={"reason", "task_ids", "justification", "observed", "expected"})
        if len(kept.encode()) > CONCLUSION_BYTES:
            raise ValueError(f"a conclusion is at most {CONCLUSION_BYTES} bytes of JSON")
        return self


class LoopReceipt(BaseModel):
    loop_id: str
