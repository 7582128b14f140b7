"""The sections of settings.toml: every key with its bounds, and which of them the image may ask to change.

A key made by `tunable` is all that one more of them takes: proposals, logs and rewrites find it here.
"""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

import durationpy
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    PlainSerializer,
    StringConstraints,
    create_model,
    field_validator,
    model_validator,
)

from configuration.approvers import read_key
from configuration.team import TEAM, Team

# Infinity and NaN have no JSON: a state that holds one could not be carried into the next run.
Value = bool | int | FiniteFloat | str
"""What one key of settings.toml may hold."""


FEWEST_BLOCKS = 10
"""Of two tasks each: what fewer of them say of a change is chance."""
CONTEXT_TOKENS = 16_384
"""The largest window of a model where nobody says otherwise."""


# durationpy alone passes over what stands between two parts of a duration, and reads "mm" as months.
_DURATION = re.compile(r"(\d+(\.\d+)?(ms|s|m|h|d|w))+", re.ASCII)
_MILLISECOND = timedelta(milliseconds=1)
_LONGEST = timedelta(days=3650)
"""As long as Temporal is told to keep histories."""


def _read_duration(value: object) -> timedelta:
    if not isinstance(value, timedelta):
        if not _DURATION.fullmatch(str(value)):
            raise ValueError('must be a duration such as "90s", "15m", "2h" or "7d"')
        value = durationpy.from_str(str(value))
    if not _MILLISECOND <= value <= _LONGEST:
        raise ValueError(f"must be 1ms to {_LONGEST.days}d long")
    # Whole milliseconds come back unchanged from the text they are written as; finer ones do not.
    return round(value / _MILLISECOND) * _MILLISECOND


Duration = Annotated[timedelta, BeforeValidator(_read_duration), PlainSerializer(durationpy.to_str)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
# The image carries its settings for life: a control character takes six bytes in JSON, a plain one takes one.
_NO_CONTROLS = r"^\P{Cc}*$"
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=_NO_CONTROLS)]
PlainModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/:@-]{1,120}$")]
MaybeModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/:@-]{0,120}$")]


def tunable(
    low: float, high: float, step: float, meaning: str, *, default: Any = ..., trials: str = "mixed"
) -> Any:
    """A key the image may ask to change: within [low, high], by at most `step` at a time."""
    extra: dict[str, JsonValue] = {"step": step, "trials": trials}
    return Field(default, ge=low, le=high, description=meaning, json_schema_extra=extra)


class Section(BaseModel):
    # Strict, so that `max_turns = true` is refused and not read as 1.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class SystemSettings(Section):
    """Who the image is and how much it does at once."""

    image_id: Name
    task_queue: Name
    max_concurrent_tasks: int = Field(ge=1, le=16)
    max_queued_tasks: int = Field(ge=1, le=500)
    image_path: Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=_NO_CONTROLS)] = (
        "snapshots"
    )
    snapshot_keep: int = Field(default=10, ge=1, le=1000)


class _ModelServer(Section):
    host: Annotated[str, StringConstraints(max_length=200, pattern=r"^(https?://[^\s\p{Cc}]+)?$")]


class _ModelSettings(_ModelServer):
    """Which model speaks for which persona, and how calls are made. After `host`: a key for each persona."""

    team: ClassVar[Team]

    allowed: list[PlainModelName] = Field(default=[], max_length=8)
    embedding: ModelName = "nomic-embed-text"
    temperature: float = Field(ge=0.0, le=1.5)
    max_answer_tokens: int = tunable(32, 4096, 128, "the longest answer, in tokens")
    context_tokens: int = Field(default=CONTEXT_TOKENS, ge=4096, le=1_048_576)
    call_timeout: Duration
    max_concurrent_calls: int = Field(ge=1, le=64)

    @model_validator(mode="after")
    def _prompts_find_room(self) -> Self:
        if self.context_tokens < 2 * self.max_answer_tokens:
            raise ValueError(
                f"context_tokens = {self.context_tokens} must be at least twice "
                f"max_answer_tokens = {self.max_answer_tokens}"
            )
        return self

    def by_persona(self) -> dict[str, str]:
        """The model of each persona, in the order of the team."""
        return {member.name: getattr(self, member.key) for member in self.team}


def models_of(team: Team) -> type[_ModelSettings]:
    """The section [models] of a team."""
    keys: Any = {member.key: (ModelName, member.model or ...) for member in team}
    # pydantic takes fields from the last base first: the personas' come after `host` and before the rest.
    bases: Any = (_ModelSettings, create_model("PersonaModels", __base__=_ModelServer, **keys))
    made = cast(type[_ModelSettings], create_model("ModelSettings", __base__=bases, __module__=__name__))
    made.team = team
    return made


if TYPE_CHECKING:
    ModelSettings = _ModelSettings
else:
    ModelSettings = models_of(TEAM)


class _TemperatureSettings(Section):
    """Freedom in the wording: a key for each persona. `Settings` fills in those that the file leaves out."""

    team: ClassVar[Team]

    def by_persona(self) -> dict[str, float]:
        """The temperature of each persona, in the order of the team."""
        return {member.name: getattr(self, member.key) for member in self.team}


def temperatures_of(team: Team) -> type[_TemperatureSettings]:
    """The section [temperatures] of a team."""
    keys: Any = {
        member.key: (float, tunable(0.0, 1.5, 0.2, f"freedom in the wording of {member.name}"))
        for member in team
    }
    made = create_model("TemperatureSettings", __base__=_TemperatureSettings, __module__=__name__, **keys)
    made.team = team
    return made


if TYPE_CHECKING:
    TemperatureSettings = _TemperatureSettings
else:
    TemperatureSettings = temperatures_of(TEAM)


class AutopoiesisSettings(Section):
    """When an argument ends."""

    max_turns: int = tunable(
        1, 10, 1, "turns of thesis and antithesis before an argument ends without agreement"
    )
    convergence_threshold: float = tunable(
        0.05, 0.9, 0.1, "the dissonance at which an argument has converged"
    )


class CadenceSettings(Section):
    """When the image looks at its own logs."""

    min_logs: int = Field(ge=1, le=100)
    check_every: Duration
    window: int = Field(ge=1, le=120)

    @model_validator(mode="after")
    def _window_holds_enough(self) -> Self:
        if self.window < self.min_logs:
            raise ValueError(f"window = {self.window} must be at least min_logs = {self.min_logs}")
        return self


Word = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_NO_CONTROLS)]


def is_address(word: str) -> bool:
    return word.startswith(("http://", "https://"))


def _is_a_key(line: str) -> str:
    read_key(line)
    return line


KeyLine = Annotated[str, StringConstraints(max_length=200, pattern=_NO_CONTROLS), AfterValidator(_is_a_key)]


class GovernanceSettings(Section):
    """How long a proposal waits for a person, who may decide, and how they hear of it. Never tunable.

    `approvers`: the keys of which `quorum` have to sign an approval; without any, whoever reaches the server
    decides.

    `notify`: a command with its arguments, or one http(s) address. It stays on the machine of the file: it is
    no part of the settings that the image carries, whose history anybody may read who may read the server.
    """

    approval_timeout: Duration
    approvers: list[KeyLine] = Field(default=[], max_length=16)
    quorum: int = Field(default=1, ge=1)
    notify: list[Word] = Field(default=[], max_length=20, exclude=True)

    def who_decides(self) -> str:
        """In words, with the names of the keys."""
        names = ", ".join(read_key(line).name for line in self.approvers)
        many = f"{self.quorum} of " if self.quorum > 1 else ""
        return f"{many}{names}" if names else "whoever reaches the server"

    def deciders(self) -> tuple[list[str], int]:
        return self.approvers, self.quorum

    @field_validator("notify")
    @classmethod
    def _is_one_address(cls, words: list[str]) -> list[str]:
        if words and is_address(words[0]) and len(words) > 1:
            raise ValueError("an address stands alone; a command begins with its program")
        return words

    @field_validator("approvers")
    @classmethod
    def _are_different_keys(cls, lines: list[str]) -> list[str]:
        if len({read_key(line).raw for line in lines}) < len(lines):
            raise ValueError("has the same key twice")
        return lines

    @model_validator(mode="after")
    def _quorum_can_be_reached(self) -> Self:
        if self.approvers and self.quorum > len(self.approvers):
            raise ValueError(
                f"quorum = {self.quorum} must be at most the number of approvers, {len(self.approvers)}"
            )
        return self


class MotivatorSettings(Section):
    """What the image does by itself when nobody asks anything of it. Never tunable."""

    idle_after: Duration = timedelta(seconds=60)
    goals: bool = False
    inquiry_threshold: float = Field(default=0.8, ge=0.0, le=1.0)
    goals_per_day: int = Field(default=4, ge=1, le=100)


class MemorySettings(Section):
    """What BABS is handed of earlier syntheses."""

    # Alone: where an arm is handed more than was, no record stands for the present settings.
    recall: int = tunable(
        0,
        10,
        1,
        "earlier syntheses that BABS is handed when the plan asks for research",
        default=3,
        trials="alone",
    )


class OptimizerSettings(Section):
    """What a change is judged by, and what finding one may cost. Never tunable.

    `creator`, `judge`: a model, "" for a persona's, or "off".
    """

    cost_weight: float = Field(default=0.1, ge=0.0, le=1.0)
    token_budget: int = Field(default=20_000, ge=100, le=10_000_000)
    trial_tasks: int = Field(default=11, ge=0, le=40)
    trial_budget_tokens: int = Field(default=400_000, ge=0, le=100_000_000)
    creator: MaybeModelName = ""
    judge: MaybeModelName = ""
    verify_blocks: int = Field(default=40, ge=0, le=200)
    verify_within: Duration = timedelta(days=30)
    minimum_gain: float = Field(default=0.01, ge=0.0, le=0.5)
    risk: float = Field(default=0.35, ge=0.0, le=1.0)

    @field_validator("verify_blocks")
    @classmethod
    def _is_enough_to_tell(cls, blocks: int) -> int:
        if 0 < blocks < FEWEST_BLOCKS:
            raise ValueError(f"must be 0 (none) or at least {FEWEST_BLOCKS}")
        return blocks

    @property
    def first_round_tasks(self) -> int:
        """Of `trial_tasks`, those of the first round; the others are for the best change alone."""
        return max(1, round(0.25 * self.trial_tasks))
