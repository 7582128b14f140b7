"""What settings.toml may say, all of it together.

Pure: `configuration/reading.py` reads the file, `activities/settings.py` rewrites it, workflows hold what it
says.
"""

import hashlib
import json
import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Self, cast

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from configuration.custom import CustomSection
from configuration.passwords import masked
from configuration.sections import (
    CONTEXT_TOKENS,
    AutopoiesisSettings,
    CadenceSettings,
    Duration,
    GovernanceSettings,
    MemorySettings,
    ModelSettings,
    MotivatorSettings,
    Name,
    OptimizerSettings,
    Section,
    SystemSettings,
    TemperatureSettings,
    Value,
    models_of,
    temperatures_of,
)
from configuration.tunables import Tunable, allowed_models, customs, declared

__all__ = [
    "CONTEXT_TOKENS",
    "Duration",
    "InvalidSettings",
    "ModelSettings",
    "MotivatorSettings",
    "Name",
    "Settings",
    "Tunable",
    "Value",
    "models_of",
    "put",
    "temperatures_of",
]


class InvalidSettings(ValueError):
    """Settings that break a rule; the message names the key, its value and what is allowed."""


class Settings(Section):
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
    temperatures: TemperatureSettings = Field(default=cast(Any, {}), validate_default=True)
    custom: CustomSection = Field(default={})

    @field_validator("temperatures", mode="before")
    @classmethod
    def _take_the_common_one(cls, given: object, others: ValidationInfo) -> object:
        """A persona without a temperature of its own has that of [models]."""
        if not isinstance(given, Mapping):
            return given
        section: Any = cls.model_fields["temperatures"].annotation
        # Without valid [models] there are no settings; that fault is told, and not one of each persona's.
        common = others.data["models"].temperature if "models" in others.data else 0.0
        return dict.fromkeys(section.model_fields, common) | dict(given)

    @classmethod
    def parse(cls, values: object) -> Self:
        """Validate plain values as they stand in the file. Raises InvalidSettings."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidSettings("; ".join(_explain(error))) from None

    def flat(self) -> dict[str, Value]:
        """Every value by its dotted key, such as `autopoiesis.max_turns`, in the order of the model.

        Not what only says how values may be tuned: the allowed models, all of [custom.NAME] but its value.
        Nor who may decide: that changes by hand alone, and no order of anybody's reaches it.
        """
        values = self.model_dump(mode="json")
        del values["governance"]["quorum"]
        custom = values.pop("custom")
        return {
            f"{section}.{key}": value
            for section, keys in values.items()
            for key, value in keys.items()
            if not isinstance(value, list)
        } | {f"custom.{name}.value": declaration["value"] for name, declaration in custom.items()}

    def digest(self) -> str:
        """Twelve hex digits that name these values: equal values, equal digest.

        A key that was added later does not count while it has its default: logs of before stay comparable.
        """
        told = {
            f"{section}.{key}": value
            for section, keys in self._values(exclude_defaults=True).items()
            for key, value in keys.items()
        }
        canonical = json.dumps(told, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def with_changes(self, changes: dict[str, Value]) -> Self:
        """These settings with some dotted keys set anew. Raises InvalidSettings.

        A persona whose temperature is that of [models] goes with it.
        """
        values, known = self._values(), self.flat()
        for dotted, value in changes.items():
            if dotted not in known:
                raise InvalidSettings(f"{dotted} is not a key of settings.toml")
            put(values, dotted, value)
        return self.parse(values)

    def changes_to(self, other: Self) -> dict[str, tuple[Value, Value]]:
        """Each key that both have and whose value differs there, with both values.

        Not the temperatures that only go with that of [models].
        """
        after, along = other.flat(), self._common_temperatures() & other._common_temperatures()
        return {
            key: (old, after[key])
            for key, old in self.flat().items()
            if key in after and after[key] != old and key not in along
        }

    def declared_anew(self, other: Self) -> list[str]:
        """What may be tuned otherwise there, or not any more: `models.allowed`, and names in [custom]."""

        def declarations(settings: Settings) -> dict[str, Any]:
            custom = {f"custom.{name}": each.model_dump() for name, each in settings.custom.items()}
            for each in custom.values():
                del each["value"]
            return {"models.allowed": settings.models.allowed, **custom}

        here, there = declarations(self), declarations(other)
        return [name for name in here | there if here.get(name) != there.get(name)]

    def tunables(self) -> dict[str, Tunable]:
        """The only keys that a philosophical loop may change, by dotted key."""
        return declared(type(self).model_fields) | allowed_models(self.models) | customs(self.custom)

    def tuned(self) -> dict[str, Value]:
        """The present values of all that may be tuned."""
        flat = self.flat()
        return {key: flat[key] for key in self.tunables()}

    def heuristics(self) -> dict[str, Value]:
        """What a performance log records of them, for logs are small: what all share, to four places.

        The common temperature is there, and each persona's is not; `tuned` has them all.
        """
        flat = self.flat()
        shared = [key for key in declared(type(self).model_fields) if not key.startswith("temperatures.")]
        values = {key: flat[key] for key in ("models.temperature", *shared)}
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}

    def _common_temperatures(self) -> set[str]:
        """The keys of the personas' temperatures that are that of [models]."""
        personas = type(self.temperatures).model_fields
        common = self.models.temperature
        return {f"temperatures.{name}" for name in personas if getattr(self.temperatures, name) == common}

    def _values(self, **how: Any) -> dict[str, Any]:
        """Plain values; left out are the temperatures that are that of [models]."""
        values = self.model_dump(mode="json", **how)
        for dotted in self._common_temperatures():
            section, key = dotted.split(".")
            del values[section][key]
        return values


def put(values: MutableMapping[str, Any], dotted: str, value: Value) -> None:
    """Set a dotted key, in plain values or in a TOML document; sections that are missing are added."""
    *sections, key = dotted.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[key] = value


UNTOLD = ("governance", "notify")
"""An address may hold a secret, and faults stand in the image's history."""
_MOST_FAULTS = 3
"""As many as a person corrects at a time; a file of another kind may have a hundred thousand."""


def _explain(error: ValidationError) -> list[str]:
    """One sentence for each of the first broken rules: the key, the value and what is allowed."""
    sentences = []
    for problem in error.errors(include_url=False)[:_MOST_FAULTS]:
        section, *rest = [part[:80] for part in map(str, problem["loc"])] or ["settings"]
        if section == "custom" and rest:
            section, rest = f"custom.{rest[0]}", rest[1:]
        where = f"[{section}] {'.'.join(rest)}".rstrip()
        if problem["type"] == "missing":
            sentences.append(f"{where} is missing")
        elif problem["type"] == "extra_forbidden":
            kind = "key" if rest else "section"
            sentences.append(f"{where} is not a known {kind}; remove it or correct its spelling")
        elif problem["type"] in ("model_type", "model_attributes_type", "dict_type"):
            sentences.append(f"{where} must be a section with keys of its own")
        else:
            allowed = re.sub(r"^Value error, |^(Input|String|List) (?=should )", "", problem["msg"])
            allowed = re.sub(r"^should ", "must ", allowed)
            value = problem["input"]
            value = masked(value) if isinstance(value, str) else value
            shown = ""
            if not isinstance(value, dict) and (section, *rest[:1]) != UNTOLD:
                shown = f" = {json.dumps(value, default=str, ensure_ascii=False)[:80]}"
            sentences.append(f"{where}{shown}: {allowed}")
    if (more := error.error_count() - len(sentences)) > 0:
        sentences.append(f"and {more:,} more")
    return sentences
