"""What may be tuned: the keys that `sections.tunable` declares, the allowed models, and a person's own."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from configuration.custom import Custom
from configuration.sections import ModelSettings


class Tunable(BaseModel):
    """One key the image may ask to change.

    Numbers: bounds inclusive, `step` the largest single change. Words: `choices`, each a step from another.
    `trials`: whether arguing a recorded task once more tells of it: beside others, only by itself, or never.
    """

    key: str
    kind: Literal["integer", "number", "choice"]
    meaning: str
    low: float = 0
    high: float = 0
    step: float = 0
    choices: tuple[str, ...] = ()
    trials: Literal["mixed", "alone", "none"] = "mixed"


def declared(sections: Mapping[str, FieldInfo]) -> dict[str, Tunable]:
    """The numbers that sections of the settings model declare, by dotted key."""
    found = {}
    for section, field in sections.items():
        section_model: Any = field.annotation
        for name, key in getattr(section_model, "model_fields", {}).items():
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
                **extra,
            )
    return found


def allowed_models(models: ModelSettings) -> dict[str, Tunable]:
    """Each persona's model, where a person allows the image to choose: among those and the present one."""
    return {
        f"models.{member.key}": Tunable(
            key=f"models.{member.key}",
            kind="choice",
            meaning=f"the model that speaks for {member.name}",
            choices=tuple(dict.fromkeys([*models.allowed, getattr(models, member.key)])),
        )
        for member in models.team
        if models.allowed
    }


def customs(section: Mapping[str, Custom]) -> dict[str, Tunable]:
    """The values of [custom.NAME], by dotted key."""
    found = {}
    for name, custom in section.items():
        key = f"custom.{name}.value"
        told = custom.model_dump(include={"meaning", "low", "high", "step", "choices"}, exclude_none=True)
        found[key] = Tunable(key=key, kind=custom.kind, trials="none", **told)
    return found
