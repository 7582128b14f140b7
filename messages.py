"""Every model that crosses a boundary: between a person, the workflows and the activities.

Requests are what people and programs send (unknown fields are refused, so that a typing error is seen).
Everything else lives in histories for years: a field added later needs a default.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from configuration import Name, Settings, Value

TASK_BYTES = 8_192
"""The longest task, in bytes of UTF-8: it travels in the history of the image and of its dialogue."""
LOG_BYTES = 640
"""The largest performance log, in bytes of JSON: the window of logs is carried across continue-as-new."""
CONCLUSION_BYTES = 4_096
"""The largest conclusion, as the ledger keeps it, in bytes of JSON; those of our own loops take 3,500."""

Person = Annotated[str, StringConstraints(max_length=80, strip_whitespace=True)]
Comment = Annotated[str, StringConstraints(max_length=400, strip_whitespace=True)]
# A control character takes six bytes in JSON: with forty of them a task could not be logged any more.
Kind = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^\P{Cc}+$")]
# Four names of models, each at most 120 characters, and a few words.
ModelNames = Annotated[str, StringConstraints(max_length=600)]
Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

Persona = Literal["ALFRED", "BABS", "BRICK", "ROBIN"]
Outcome = Literal["converged", "max_turns", "failed"]
LoopState = Literal["approved", "rejected", "expired", "stale", "no_proposal", "failed"]
Phase = Literal["active", "paused", "retiring", "retired"]


# --- requests: sent by people, by hand or through the command line ---------------------------------


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SubmitTask(Request):
    task: str = ""
    task_id: Name | None = None
    task_type: Kind = "question"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.task.encode()) > TASK_BYTES:
            raise ValueError(f"task is longer than {TASK_BYTES} bytes; shorten it or split it")
        return self


class Reason(Request):
    """The argument of `reflect`, `pause`, `resume` and `retire`."""

    reason: Comment = ""


class ReloadSettings(Request):
    """`model_backend` is how a worker that has just started says which model it will ask."""

    model_backend: ModelNames = ""


class SaveImage(Request):
    """`path`: a folder or fsspec URL instead of `[system] image_path`."""

    path: Annotated[str, StringConstraints(max_length=300, strip_whitespace=True)] = ""


class Decision(Request):
    """A person's verdict on a proposal. `changes` are the person's own values for its keys."""

    verdict: Literal["approve", "reject"] | None = None
    approver: Person = ""
    comment: Comment = ""
    proposal_digest: str | None = None
    changes: dict[str, Value] = {}


class RevertSettings(Request):
    """Back to the settings of an earlier revision, as a person's order."""

    revision: int = 0
    approver: Person = ""
    comment: Comment = ""


class Approver(Request):
    """The argument of the signals `approve` and `reject`."""

    approver: Person = ""
    comment: Comment = ""


# --- tasks and dialogues --------------------------------------------------------------------------


class TaskReceipt(BaseModel):
    """`position` 0: running or finished; n: the n-th in the queue."""

    task_id: str
    workflow_id: str
    position: int


class TaskView(BaseModel):
    """One task as people see it. `task` is an excerpt; all of it stands in the dialogue's history."""

    task_id: str
    task: str
    task_type: str = "question"
    phase: Literal["queued", "running", "finished"]
    outcome: Outcome | None = None
    failure: str = ""
    origin: str = "person"
    reason: str = ""
    submitted_at: datetime
    finished_at: datetime | None = None


class DialogueStart(BaseModel):
    """A task and the settings it is pinned to."""

    image_id: str
    task_id: str
    task: str
    task_type: str
    origin: str
    settings: Settings
    settings_digest: str
    revision: int


class Dissonance(BaseModel):
    """How far thesis and antithesis are apart. `value` None: the model gave none, `missing` says why."""

    label: str | None = None
    value: Unit | None = None
    missing: str = ""


class Turn(BaseModel):
    turn: int
    thesis: str
    antithesis: str
    dissonance: Dissonance


class Recollection(BaseModel):
    """An earlier task that bears on this one, in excerpts. `score`: how much, 0 to 1."""

    task_id: str
    task: str
    synthesis: str
    score: float


class Transcript(BaseModel):
    """What was said so far. `speaking` names the persona at work; `failure` says why the dialogue failed.

    `recalled` is what BABS was handed of earlier tasks, `recalled_by` by which means it was found.
    """

    task_id: str
    task: str
    plan: str = ""
    recalled: list[Recollection] = []
    recalled_by: str = ""
    research: str = ""
    turns: list[Turn] = []
    synthesis: str = ""
    speaking: str = ""
    failure: str = ""
    model_backend: str = ""


class PerformanceLog(BaseModel):
    """What one argument came to. `final_dissonance` None: no turn was measured; never a made-up figure."""

    model_config = ConfigDict(extra="forbid")

    task_id: Name
    task_type: Kind = "question"
    final_dissonance: Unit | None
    turn_count: int = Field(ge=0, le=1000)
    outcome: Outcome
    settings_digest: Annotated[str, StringConstraints(max_length=64)] = ""
    active_heuristics: dict[str, Value] = {}
    tokens_in: int = Field(default=0, ge=0)
    tokens_out: int = Field(default=0, ge=0)
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    origin: Kind = "external"
    finished_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.outcome == "converged" and self.final_dissonance is None:
            raise ValueError("a converged log needs its final_dissonance")
        if len(self.model_dump_json().encode()) > LOG_BYTES:
            raise ValueError(f"a log is at most {LOG_BYTES} bytes of JSON")
        return self


class LogReceipt(BaseModel):
    """`accepted` is true for a log sent twice as well; `window` counts the logs now held."""

    accepted: bool
    window: int


class SetAside(BaseModel):
    """A message that did not validate, kept where a person can see it."""

    what: str
    reason: str
    excerpt: str
    at: datetime


class DialogueResult(BaseModel):
    task_id: str
    outcome: Outcome
    synthesis: str
    dissonance: list[Dissonance]
    log: PerformanceLog
    model_backend: str
    revision: int
    recalled: list[Recollection] = []
    recalled_by: str = ""


class TaskCompleted(BaseModel):
    """The dialogue's last word to its image. `failure` is `Type: message` when the task failed."""

    task_id: str
    log: PerformanceLog
    model_backend: ModelNames = ""
    failure: str = ""


# --- persona calls --------------------------------------------------------------------------------


class PersonaCall(BaseModel):
    """One call of a model. `words` is an entry of prompts.toml, `fields` fill its placeholders."""

    persona: Persona
    words: str
    fields: dict[str, str]
    model: str
    host: str
    temperature: float
    max_answer_tokens: int
    timeout_seconds: float
    max_concurrent_calls: int


class Usage(BaseModel):
    """What one call took. `model_backend` says which model really answered, and where."""

    tokens_in: int
    tokens_out: int
    seconds: float
    model_backend: str


class Plan(BaseModel):
    plan: str
    needs_research: bool
    usage: Usage


class Speech(BaseModel):
    text: str
    usage: Usage


class Judgement(BaseModel):
    dissonance: Dissonance
    usage: Usage


# --- goals that the personas set themselves --------------------------------------------------------


class InquiryStart(BaseModel):
    """Why the personas look for a goal, and what they must not come near to: recent tasks and goals."""

    image_id: str
    inquiry_id: str
    reason: str
    recent: list[str]
    settings: Settings


class Goal(BaseModel):
    """A task that a persona would like the team to take on. `score` is the mean of the others' scores."""

    persona: Persona
    goal: str
    why: str
    score: float | None = None


class Imagining(BaseModel):
    """The order to imagine goals, none of them near to a recent one."""

    call: PersonaCall
    recent: list[str]


class Imagined(BaseModel):
    """Goals, without those that came too near to a recent one, of which `near` counts."""

    goals: list[Goal]
    near: int = 0
    usage: Usage


class Scoring(BaseModel):
    """The order to score goals of others."""

    call: PersonaCall
    goals: list[str]


class Scores(BaseModel):
    """One score from 0 to 1 for each goal, in their order."""

    scores: list[Unit]
    usage: Usage


class InquiryConcluded(BaseModel):
    """What an inquiry came to: its result and its signal to the image. Without a goal, why there is none."""

    inquiry_id: str
    best: Goal | None = None
    goals: list[Goal] = []
    reason: str = ""


# --- memory ---------------------------------------------------------------------------------------


class RecallRequest(BaseModel):
    """What to look for in the memory: at most `most` earlier tasks of the image that bear on a text.

    `host` and `model` are those of [models] for embeddings. `task_id` names the task that asks.
    """

    image_id: str
    task_id: str
    text: str
    host: str
    model: str
    most: int


class Recalled(BaseModel):
    """What was found, best first, and by which means: embeddings, shared words, or why by none."""

    items: list[Recollection] = []
    means: str


# --- the philosophical loop -----------------------------------------------------------------------


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


class ClosedChild(BaseModel):
    """A child that has ended without telling the image. `how` is Temporal's word for it."""

    workflow_id: str
    how: str


class LoopStart(BaseModel):
    image_id: str
    loop_id: str
    reason: str
    window: list[PerformanceLog]
    settings: Settings
    settings_digest: str
    revision: int


class ProposalView(BaseModel):
    """The answer to the query `proposal`. `state` is analysing, pending, rewriting or how it ended."""

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
    reason: str = ""
    decided_by: str = ""
    decided_at: datetime | None = None
    comment: str = ""


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


# --- the settings file ----------------------------------------------------------------------------


class SettingsFile(BaseModel):
    """settings.toml as it stands. `last_loop`: the loop whose rewrite the file still holds, or empty."""

    settings: Settings
    digest: str
    owner: str
    last_loop: str = ""


class Rewrite(BaseModel):
    """The order to change keys of settings.toml. Carried out once for each (loop_id, target digest).

    An order that a person gave (`by_person`) may change any key, a loop's only the tunable ones.
    """

    loop_id: str
    changes: list[Change]
    by_person: bool = False


class RewriteReceipt(BaseModel):
    """`stale` names the keys that a person changed meanwhile; then nothing was written."""

    settings: Settings
    digest: str
    written: bool
    stale: list[str] = []
    backup: str = ""


class RewritePreview(BaseModel):
    """A unified diff of the file against what it would become, or the keys that are stale already."""

    diff: str
    stale: list[str] = []


# --- snapshots ------------------------------------------------------------------------------------


class SnapshotOrder(BaseModel):
    """`place`: a folder, relative to that of settings.toml, or an fsspec URL. `generation`: the next one."""

    image_id: str
    place: str
    keep: int
    generation: int


class SnapshotReceipt(BaseModel):
    """A snapshot that was read back and holds. `bytes`: its size; `sha256` names its content."""

    path: str
    bytes: int
    sha256: str
    generation: int


class Keeping(BaseModel):
    """How an image stands with its snapshots. `tried_at`: when the last one, good or not, was begun."""

    active_at: datetime | None = None
    tried_at: datetime | None = None
    saved_at: datetime | None = None
    generation: int = 0
    path: str = ""
    problem: str = ""


# --- what the image tells -------------------------------------------------------------------------


class Amendment(BaseModel):
    """One entry of the ledger: a change of the settings, or a loop that changed nothing.

    `digest_before` and `digest` name the settings before and after it; empty where nobody recorded them.
    """

    revision: int
    digest_before: str = ""
    digest: str = ""
    justification: str = ""
    loop_id: str | None = None
    source: str
    changes: list[Change]
    state: LoopState | Literal["adopted"]
    reason: str = ""
    decided_by: str = ""
    comment: str = ""
    decided_at: datetime


class Tally(BaseModel):
    """What the arguments under one set of settings came to, in sums. `measured` have a dissonance."""

    digest: str
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


class Means(BaseModel):
    """Means over the arguments that did not fail; None where there is none."""

    arguments: int = 0
    failed: int = 0
    dissonance: float | None = None
    turns: float | None = None
    tokens: float | None = None

    @classmethod
    def of(cls, tally: Tally | None) -> Self:
        if tally is None:
            return cls()
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


class ReloadReceipt(BaseModel):
    revision: int
    digest: str
    changed: bool


class ImageStatus(BaseModel):
    image_id: str
    phase: Phase
    model_backend: str
    queued: int
    running: int
    finished: int
    failed: int
    waiting_loops: list[str]
    window: int
    revision: int
    digest: str
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


def excerpt(text: str, limit: int = 120) -> str:
    """The first characters of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def as_json(value: Any) -> Any:
    """A model, or a list of models, as plain JSON values."""
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
