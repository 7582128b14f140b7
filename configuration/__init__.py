"""What settings.toml may say: every key, its bounds, and which keys the image may ask to change.

Pure: `configuration/reading.py` reads the file, `activities/settings.py` rewrites it, workflows hold what it
says.
"""

import hashlib
import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

import durationpy
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    create_model,
    model_validator,
)

from configuration.team import TEAM, Team

# Infinity and NaN have no JSON: a state that holds one could not be carried into the next run.
Value = bool | int | FiniteFloat | str
"""What one key of settings.toml may hold."""


CONTEXT_TOKENS = 16_384
"""The largest window of a model where nobody says otherwise."""


class InvalidSettings(ValueError):
    """Settings that break a rule; the message names the key, its value and what is allowed."""


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
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=120)]
# A control character takes six bytes in JSON, and the image carries its settings for life.
MaybeModelName = Annotated[str, StringConstraints(max_length=120, pattern=r"^\P{Cc}*$")]


def _tunable(low: float, high: float, step: float, meaning: str) -> Any:
    """A key the image may ask to change: within [low, high], by at most `step` at a time."""
    return Field(ge=low, le=high, description=meaning, json_schema_extra={"step": step})


class _Section(BaseModel):
    # Strict, so that `max_turns = true` is refused and not read as 1.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class SystemSettings(_Section):
    """Who the image is and how much it does at once."""

    image_id: Name
    task_queue: Name
    max_concurrent_tasks: int = Field(ge=1, le=16)
    max_queued_tasks: int = Field(ge=1, le=500)
    image_path: Annotated[str, StringConstraints(min_length=1, max_length=300)] = "snapshots"
    snapshot_keep: int = Field(default=10, ge=1, le=1000)


class _ModelServer(_Section):
    host: Annotated[str, StringConstraints(max_length=200, pattern=r"^(https?://\S+)?$")]


class _ModelSettings(_ModelServer):
    """Which model speaks for which persona, and how calls are made. After `host`: a key for each persona."""

    team: ClassVar[Team]

    embedding: ModelName = "nomic-embed-text"
    temperature: float = _tunable(0.0, 1.5, 0.2, "freedom in the wording")
    max_answer_tokens: int = Field(ge=32, le=4096)
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


class AutopoiesisSettings(_Section):
    """When an argument ends."""

    max_turns: int = _tunable(
        1, 10, 1, "turns of thesis and antithesis before an argument ends without agreement"
    )
    convergence_threshold: float = _tunable(
        0.05, 0.9, 0.1, "the dissonance at which an argument has converged"
    )


class CadenceSettings(_Section):
    """When the image looks at its own logs."""

    min_logs: int = Field(ge=1, le=100)
    check_every: Duration
    window: int = Field(ge=1, le=120)

    @model_validator(mode="after")
    def _window_holds_enough(self) -> Self:
        if self.window < self.min_logs:
            raise ValueError(f"window = {self.window} must be at least min_logs = {self.min_logs}")
        return self


class GovernanceSettings(_Section):
    """How long a proposal waits for a person. Never tunable."""

    approval_timeout: Duration


class MotivatorSettings(_Section):
    """What the image does by itself when nobody asks anything of it. Never tunable."""

    idle_after: Duration = timedelta(seconds=60)
    goals: bool = False
    inquiry_threshold: float = Field(default=0.8, ge=0.0, le=1.0)
    goals_per_day: int = Field(default=4, ge=1, le=100)


class MemorySettings(_Section):
    """What BABS is handed of earlier syntheses."""

    recall: int = Field(default=3, ge=0, le=10)


class OptimizerSettings(_Section):
    """What a change is judged by, and what finding one may cost. Never tunable.

    `creator`, `judge`: a model, "" for a persona's, or "off".
    """

    cost_weight: float = Field(default=0.1, ge=0.0, le=1.0)
    token_budget: int = Field(default=20_000, ge=100, le=10_000_000)
    trial_tasks: int = Field(default=7, ge=0, le=40)
    trial_budget_tokens: int = Field(default=400_000, ge=0, le=100_000_000)
    creator: MaybeModelName = ""
    judge: MaybeModelName = ""
    verify_blocks: int = Field(default=40, ge=10, le=200)
    minimum_gain: float = Field(default=0.01, ge=0.0, le=0.5)
    risk: float = Field(default=0.35, ge=0.0, le=1.0)


class Tunable(BaseModel):
    """One key the image may ask to change.

    Numbers: bounds inclusive, `step` the largest single change. Words: `choices`, each a step from another.
    """

    key: str
    kind: Literal["integer", "number", "choice"]
    meaning: str
    low: float = 0
    high: float = 0
    step: float = 0
    choices: tuple[str, ...] = ()


class Settings(_Section):
    """All of settings.toml, validated.

    Histories hold settings by value: a key added later needs a default, or old histories stop replaying.
    """

    system: SystemSettings
    models: ModelSettings
    autopoiesis: AutopoiesisSettings
    cadence: CadenceSettings
    governance: GovernanceSettings
    motivator: MotivatorSettings = MotivatorSettings()
    memory: MemorySettings = MemorySettings()
    optimizer: OptimizerSettings = OptimizerSettings()

    @classmethod
    def parse(cls, values: object) -> Self:
        """Validate plain values as they stand in the file. Raises InvalidSettings."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidSettings("; ".join(_explain(error))) from None

    def flat(self) -> dict[str, Value]:
        """Every value by its dotted key, such as `autopoiesis.max_turns`, in the order of the model."""
        return {
            f"{section}.{key}": value
            for section, keys in self.model_dump(mode="json").items()
            for key, value in keys.items()
        }

    def digest(self) -> str:
        """Twelve hex digits that name these values: equal values, equal digest.

        A key that was added later does not count while it has its default: logs of before stay comparable.
        """
        told = {
            f"{section}.{key}": value
            for section, keys in self.model_dump(mode="json", exclude_defaults=True).items()
            for key, value in keys.items()
        }
        canonical = json.dumps(told, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def with_changes(self, changes: dict[str, Value]) -> Self:
        """These settings with some dotted keys set anew. Raises InvalidSettings."""
        values = self.model_dump(mode="json")
        for dotted, value in changes.items():
            section, _, key = dotted.partition(".")
            if section not in values or key not in values[section]:
                raise InvalidSettings(f"{dotted} is not a key of settings.toml")
            values[section][key] = value
        return self.parse(values)

    def tunables(self) -> dict[str, Tunable]:
        """The only keys that a philosophical loop may change, by dotted key."""
        return TUNABLES

    def heuristics(self) -> dict[str, Value]:
        """The values of the tunable keys, as a performance log records them."""
        flat = self.flat()
        return {key: flat[key] for key in TUNABLES}


def _find_tunables() -> dict[str, Tunable]:
    found = {}
    for section, field in Settings.model_fields.items():
        section_model: Any = field.annotation
        for name, key in section_model.model_fields.items():
            extra = key.json_schema_extra
            if not isinstance(extra, dict) or "step" not in extra:
                continue
            bounds = {type(rule).__name__: rule for rule in key.metadata}
            found[f"{section}.{name}"] = Tunable(
                key=f"{section}.{name}",
                kind="integer" if key.annotation is int else "number",
                meaning=key.description or "",
                low=bounds["Ge"].ge,
                high=bounds["Le"].le,
                step=extra["step"],
            )
    return found


TUNABLES = _find_tunables()
"""The only keys a philosophical loop may change, by dotted key."""


_MOST_FAULTS = 3
"""As many as a person corrects at a time; a file of another kind may have a hundred thousand."""


def _explain(error: ValidationError) -> list[str]:
    """One sentence for each of the first broken rules: the key, the value and what is allowed."""
    sentences = []
    for problem in error.errors(include_url=False)[:_MOST_FAULTS]:
        section, *rest = [part[:80] for part in map(str, problem["loc"])] or ["settings"]
        where = f"[{section}] {'.'.join(rest)}".rstrip()
        if problem["type"] == "missing":
            sentences.append(f"{where} is missing")
        elif problem["type"] == "extra_forbidden":
            kind = "key" if rest else "section"
            sentences.append(f"{where} is not a known {kind}; remove it or correct its spelling")
        elif problem["type"] in ("model_type", "model_attributes_type"):
            sentences.append(f"{where} must be a section with keys of its own")
        else:
            allowed = re.sub(r"^Value error, |^(Input|String) (?=should )", "", problem["msg"])
            allowed = re.sub(r"^should ", "must ", allowed)
            value = problem["input"]
            shown = ""
            if not isinstance(value, dict):
                shown = f" = {json.dumps(value, default=str, ensure_ascii=False)[:80]}"
            sentences.append(f"{where}{shown}: {allowed}")
    if (more := error.error_count() - len(sentences)) > 0:
        sentences.append(f"and {more:,} more")
    return sentences
