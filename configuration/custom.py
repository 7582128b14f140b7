"""What a person declares for programs of their own: `[custom.NAME]`, a value the image may ask to change."""

import json
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, TypeAdapter, model_validator

from configuration.sections import Section

MOST_NAMES = 16
MOST_BYTES = 2_048
"""Of [custom] in JSON: the image carries its settings for life, and so does the history of each task."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_LARGEST = 1e12
"""Far below where floating point numbers cease to tell whole ones apart."""


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    if not abs(value) <= _LARGEST:
        raise ValueError(f"must be a number of at most {_LARGEST:.0f}")
    return value


def _number_or_word(value: object) -> object:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number, or one of the words in choices")
    return _number(value)


Number = Annotated[int | float, BeforeValidator(_number)]
Word = Annotated[str, StringConstraints(pattern=r"^\P{Cc}{1,60}$")]


class Custom(Section):
    """One such value: a number within [low, high] that moves by at most `step`, or one of `choices`.

    A number is whole where `low`, `high` and `step` are.
    """

    value: Annotated[int | float | str, BeforeValidator(_number_or_word)]
    low: Number | None = None
    high: Number | None = None
    step: Number | None = None
    choices: list[Word] | None = Field(default=None, min_length=2, max_length=12)
    meaning: Annotated[str, StringConstraints(pattern=r"^\P{Cc}{1,120}$")]

    @property
    def kind(self) -> Literal["integer", "number", "choice"]:
        if self.choices is not None:
            return "choice"
        whole = all(isinstance(each, int) for each in (self.low, self.high, self.step))
        return "integer" if whole else "number"

    @property
    def _shown(self) -> str:
        return json.dumps(self.value, ensure_ascii=False)[:80]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        given = [name for name in ("low", "high", "step") if getattr(self, name) is not None]
        if self.choices is not None:
            if given:
                raise ValueError(f"has choices, which are for words, and {', '.join(given)}, for numbers")
            if len({*self.choices}) < len(self.choices):
                raise ValueError("choices must differ from each other")
            if self.value not in self.choices:
                raise ValueError(f"value = {self._shown} must be one of {', '.join(self.choices)}")
        elif self.low is None or self.high is None or self.step is None:
            raise ValueError("needs low, high and step (numbers), or choices (words)")
        elif not 0 < self.step <= self.high - self.low:
            raise ValueError("low must be below high, and step greater than 0 and at most high - low")
        elif isinstance(self.value, str) or not self.low <= self.value <= self.high:
            raise ValueError(f"value = {self._shown} must be a number from {self.low} to {self.high}")
        elif self.kind == "integer" and not isinstance(self.value, int):
            raise ValueError(f"value = {self._shown} must be a whole number, as low, high and step are")
        return self


def _few_and_small(section: dict[str, Custom]) -> dict[str, Custom]:
    for name in section:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f'"{name[:80]}" is no name: use at most 32 of a to z, 0 to 9 and _, a letter first'
            )
    if len(section) > MOST_NAMES:
        raise ValueError(f"{len(section)} names; at most {MOST_NAMES} are allowed")
    if (size := len(_SECTION.dump_json(section))) > MOST_BYTES:
        raise ValueError(f"takes {size:,} bytes of JSON; at most {MOST_BYTES:,} are allowed")
    return section


_SECTION = TypeAdapter(dict[str, Custom])

CustomSection = Annotated[dict[str, Custom], AfterValidator(_few_and_small)]
"""The section [custom], by name."""
