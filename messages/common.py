"""Types, bounds and small helpers that several messages share."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from configuration.team import TEAM

TASK_BYTES = 8_192
"""The longest task, in bytes of UTF-8: it travels in the history of the image and of its dialogue."""


LOG_BYTES = 720
"""The largest performance log without its rating, in bytes of JSON: the window of logs is carried across
continue-as-new."""


CONCLUSION_BYTES = 4_096
"""The largest conclusion, as the ledger keeps it, in bytes of JSON; those of our own loops take 3,500."""


Person = Annotated[str, StringConstraints(max_length=80, strip_whitespace=True)]


Comment = Annotated[str, StringConstraints(max_length=400, strip_whitespace=True)]


# A control character takes six bytes in JSON: with forty of them a task could not be logged any more.
Kind = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^\P{Cc}+$")]


# W3C trace context, version 00: the ids of a trace and of a span in it.
Trace = Annotated[str, StringConstraints(pattern=r"^(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?$")]


# A model's name for each persona, at most 120 characters each, and a few words.
ModelNames = Annotated[str, StringConstraints(max_length=120 * (len(TEAM) + 1))]


Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


if TYPE_CHECKING:
    Persona = str
else:
    Persona = Literal[tuple(member.name for member in TEAM)]


Conditions = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{12})?$")]
"""Names what beside the settings an argument rests on: prompts, models, program. Empty: nobody told."""


Outcome = Literal["converged", "max_turns", "failed"]


LoopState = Literal["approved", "rejected", "expired", "stale", "no_proposal", "failed"]


Arm = Literal["old", "new"]
"""Under which settings of a comparison a task runs."""


Phase = Literal["active", "paused", "retiring", "retired"]


def excerpt(text: str, limit: int = 120) -> str:
    """The first characters of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def part(kind: type[BaseModel], whole: BaseModel) -> dict[str, Any]:
    """Of a model that extends another one, the fields of that other one."""
    return {name: getattr(whole, name) for name in kind.model_fields}
