"""What a model's text says, without what it thought aloud and without the words around the JSON asked for."""

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from activities.model_server.client import mend_json

Form = TypeVar("Form", bound=BaseModel)

_TAG = r"(?:think|thinking|thought|reasoning)"
_ENDED = re.compile(rf"</\s*{_TAG}\s*>", re.IGNORECASE)
_BEGUN = re.compile(rf"^[ \t]*<\s*{_TAG}\s*>", re.IGNORECASE | re.MULTILINE)

MOST_STARTS = 64
"""Braces at which JSON is looked for: one is usual, and a model that writes 16 KiB of them means none."""


class NotInForm(ValueError):
    """The text holds nothing of the form asked for, or several that differ."""


def without_thinking(text: str) -> str:
    """What is left once the model has thought, which may be nothing.

    Not every template writes the opening tag, so all before the last closing tag is thinking; all after an
    opening tag that begins a line and is never closed is thinking too.
    """
    said = _ENDED.split(text)[-1]
    return _BEGUN.split(said, maxsplit=1)[0].strip()


def read_form(form: type[Form], text: str) -> Form:
    """The one object of a form in a text, whatever stands around it. Raises NotInForm.

    A measurement is not guessed: several objects that fit the form must say the same.
    """
    found: list[Form] = []
    for value in _objects(mend_json(text.encode()).decode()):
        try:
            found.append(form.model_validate(value))
        except ValidationError:
            continue
    if not found or any(other != found[0] for other in found[1:]):
        raise NotInForm
    return found[0]


def _objects(text: str) -> list[Any]:
    """The JSON objects in a text that stand in no other one, in their order."""
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_once)
    found = []
    start = text.find("{")
    for _ in range(MOST_STARTS):
        if start < 0:
            break
        try:
            value, end = decoder.raw_decode(text, start)
            found.append(value)
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if any(values[key] is not value and values[key] != value for key, value in pairs):
        raise ValueError("one key, two values")
    return values
