"""What people send, by hand or through the command line.

Unknown fields are refused, so that a typing error is seen.
"""

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints, model_validator

from configuration import Name, Value
from messages.common import TASK_BYTES, Comment, Kind, ModelNames, Person, Trace, Unit


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SubmitTask(Request):
    """`trace`: the W3C `traceparent` of whoever hands it in, whose trace its dialogue is then part of."""

    task: str = ""
    task_id: Name | None = None
    task_type: Kind = "question"
    trace: Trace = ""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.task.encode()) > TASK_BYTES:
            raise ValueError(f"task is longer than {TASK_BYTES} bytes; shorten it or split it")
        return self


class AssignSettings(Request):
    """Asked by a program before a task of its own: which settings it is to use for it."""

    task_id: Name | None = None


class RateTask(Request):
    """What a person thinks of the answer to a task: 0 bad .. 1 good."""

    task_id: Name | None = None
    rating: Unit | None = None
    comment: Comment = ""
    rated_by: Person = ""


class Reason(Request):
    """The argument of `reflect`, `pause`, `resume` and `retire`."""

    reason: Comment = ""


class ReloadSettings(Request):
    """`model_backend` is how a worker that has just started says which model it will ask."""

    model_backend: ModelNames = ""


class SaveImage(Request):
    """`path`: a folder or fsspec URL instead of `[system] image_path`."""

    path: Annotated[str, StringConstraints(max_length=300, strip_whitespace=True)] = ""


class Signature(Request):
    """Of one approver over a decision, as `messages/signatures.py` has it; it must come before it expires.

    `key`: the public one in OpenSSH form. `signature`: 64 bytes in base64.
    """

    key: Annotated[str, StringConstraints(max_length=200)]
    expires_at: AwareDatetime
    signature: Annotated[str, StringConstraints(max_length=120)]


class Decision(Request):
    """A person's verdict on a proposal. `changes` are the person's own values for its keys.

    `signature`: where [governance] names approvers, a decision counts only with one.
    """

    verdict: Literal["approve", "reject"] | None = None
    approver: Person = ""
    comment: Comment = ""
    proposal_digest: str | None = None
    changes: dict[str, Value] = {}
    signature: Signature | None = None


class RevertSettings(Request):
    """Back to the settings of an earlier revision, as a person's order."""

    revision: int = 0
    approver: Person = ""
    comment: Comment = ""


class VerifySettings(Request):
    """Verify a person's own change of the settings: that of a revision, else the latest."""

    revision: int | None = None


class EndVerification(Request):
    """End a verification by a person's order: with the new values as they are, or with those of before."""

    action: Literal["accept", "revert"] | None = None
    approver: Person = ""
    comment: Comment = ""


class Approver(Request):
    """The argument of the signals `approve` and `reject`."""

    approver: Person = ""
    comment: Comment = ""
    signature: Signature | None = None
