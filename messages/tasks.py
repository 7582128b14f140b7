"""Tasks, the dialogues that argue them out, and their performance logs."""

import operator
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from configuration import Name, Settings, Value
from messages.common import LOG_BYTES, Arm, Conditions, Kind, ModelNames, Outcome, Trace, Unit
from messages.memory import Recalled, Recollection


class Task(BaseModel):
    """A task on its way through the image. `reason` says why the personas set it themselves.

    `trace`: the `traceparent` of whoever handed it in, if there was one.
    """

    task_id: str
    task: str
    task_type: str = "question"
    origin: str = "person"
    reason: str = ""
    submitted_at: datetime
    trace: Trace = Field(default="", exclude_if=operator.not_)


class TaskReceipt(BaseModel):
    """`position` 0: running or finished; n: the n-th in the queue."""

    task_id: str
    workflow_id: str
    position: int


class TaskView(Task):
    """One task as people see it. `task` is an excerpt; all of it stands in the dialogue's history.

    `rating`: what a person thinks of the answer. `row`: which row of the observations counts it. `block`,
    `arm`: its place in a comparison of settings, if any.
    """

    phase: Literal["queued", "running", "finished"]
    outcome: Outcome | None = None
    failure: str = ""
    finished_at: datetime | None = None
    row: str = ""
    rating: float | None = None
    rating_comment: str = ""
    rated_by: str = ""
    block: int | None = None
    arm: Arm | None = None


class DialogueStart(Task):
    """A task and the settings it is pinned to. `recalled`: instead of what would be looked for.

    `arm`: on which side of a comparison of settings it runs, if on any.
    """

    image_id: str
    settings: Settings
    settings_digest: str
    revision: int
    recalled: Recalled | None = None
    arm: Arm | None = None


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


class Transcript(BaseModel):
    """What was said so far. `speaking` names the persona at work; `failure` says why the dialogue failed.

    `recalled` is what BABS was handed of earlier tasks, `recalled_by` by which means it was found.
    `thesis` and `antithesis` are those of the turn under way, empty between turns.
    """

    task_id: str
    task: str
    plan: str = ""
    recalled: list[Recollection] = []
    recalled_by: str = ""
    research: str = ""
    turns: list[Turn] = []
    thesis: str = ""
    antithesis: str = ""
    synthesis: str = ""
    speaking: str = ""
    failure: str = ""
    model_backend: str = ""


class PerformanceLog(BaseModel):
    """What one argument came to. `final_dissonance` None: no turn was measured; never a made-up figure.

    `conditions`: the prompts, models and program it was argued with; empty for a log from outside.
    `rating`: what a person thinks of the answer. `arm`: on which side of a comparison it was made, if any.
    """

    model_config = ConfigDict(extra="forbid")

    task_id: Name
    task_type: Kind = "question"
    final_dissonance: Unit | None
    turn_count: int = Field(ge=0, le=1000)
    outcome: Outcome
    settings_digest: Annotated[str, StringConstraints(max_length=64)] = ""
    active_heuristics: dict[str, Value] = {}
    # Bounded, so that sums and squares of them stay numbers that JSON has.
    tokens_in: int = Field(default=0, ge=0, le=10**12)
    tokens_out: int = Field(default=0, ge=0, le=10**12)
    seconds: float = Field(default=0.0, ge=0, le=10**9, allow_inf_nan=False)
    origin: Kind = "external"
    finished_at: AwareDatetime | None = None
    conditions: Conditions = ""
    rating: Unit | None = None
    arm: Arm | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.outcome == "converged" and self.final_dissonance is None:
            raise ValueError("a converged log needs its final_dissonance")
        # A rating may come later, and the log must still load.
        if len(self.model_dump_json(exclude={"rating"}).encode()) > LOG_BYTES:
            raise ValueError(f"a log is at most {LOG_BYTES} bytes of JSON")
        return self


class Assignment(BaseModel):
    """The settings for a task of another program: all that may be tuned, by key.

    `custom`: of these the program's own, by the name under [custom]. `arm`: on which side of a comparison it
    is, if on any; `revision`: of the settings that the image has.
    """

    task_id: str
    values: dict[str, Value]
    custom: dict[str, Value]
    settings_digest: str
    revision: int
    arm: Arm | None = None


class LogReceipt(BaseModel):
    """`accepted` is true for a log sent twice as well; `window` counts the logs now held."""

    accepted: bool
    window: int


class DialogueResult(BaseModel):
    """`models`: those that answered, each with the digest by which its server identifies it, where told."""

    task_id: str
    outcome: Outcome
    synthesis: str
    dissonance: list[Dissonance]
    log: PerformanceLog
    model_backend: str
    revision: int
    recalled: list[Recollection] = []
    recalled_by: str = ""
    models: dict[str, str] = {}


class RecordedTask(Task):
    """A task as its history tells it. `result`: what it came to; None where that cannot be read."""

    result: DialogueResult | None = None


class TaskCompleted(BaseModel):
    """The dialogue's last word to its image. `failure` is `Type: message` when the task failed."""

    task_id: str
    log: PerformanceLog
    model_backend: ModelNames = ""
    failure: str = ""
