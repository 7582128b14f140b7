"""Reads prompts.toml, the words that personas are told, and fills in the placeholders."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

PROMPTS = Path(__file__).resolve().parent.parent / "prompts.toml"

# Placeholders of a later version: a call that was asked for before they were there must still be filled.
_ADDED = {"research": {"memory": ""}}
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class BrokenPrompts(ValueError):
    """prompts.toml cannot be used; the message says what is wrong, where, and what to do."""


class Words(BaseModel):
    """One entry of prompts.toml."""

    model_config = ConfigDict(extra="forbid")

    system: _Text
    user: _Text


_ENTRIES = TypeAdapter(dict[str, Words])


class Prompts:
    """The entries of one prompts.toml, read again when the file has changed."""

    def __init__(self, path: Path = PROMPTS) -> None:
        self._path = path
        self._entries: dict[str, Words] = {}
        self._version: tuple[int, int] | None = None

    def messages(self, entry: str, fields: Mapping[str, str]) -> list[dict[str, str]]:
        """The chat messages of an entry, placeholders filled. Raises BrokenPrompts."""
        words = self._read().get(entry)
        if words is None:
            raise BrokenPrompts(f"{self._path} has no entry [{entry}]; add one with `system` and `user`")
        fields = {
            **fields,
            **{name: text for name, text in _ADDED.get(entry, {}).items() if name not in fields},
        }
        return [
            {"role": role, "content": self._fill(entry, role, text, fields)}
            for role, text in (("system", words.system), ("user", words.user))
        ]

    def _fill(self, entry: str, role: str, text: str, fields: Mapping[str, str]) -> str:
        try:
            return fill(text, fields)
        except KeyError as unknown:
            known = ", ".join(f"{{{name}}}" for name in fields)
            raise BrokenPrompts(
                f"{self._path}, entry [{entry}], {role}: {{{unknown.args[0]}}} is not one of {known}; "
                "correct it"
            ) from None

    def _read(self) -> dict[str, Words]:
        try:
            found = self._path.stat()
            version = (found.st_mtime_ns, found.st_size)
            if version != self._version:
                self._entries = _ENTRIES.validate_python(
                    tomllib.loads(self._path.read_text(encoding="utf-8"))
                )
                self._version = version
        except OSError as error:
            raise BrokenPrompts(f"{self._path} cannot be read ({error.strerror}); restore it") from None
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise BrokenPrompts(f"{self._path}, {where}: {problem['msg']}; correct it") from None
        except (ValueError, RecursionError) as error:  # Not TOML, nested without end, or not UTF-8.
            raise BrokenPrompts(f"{self._path} is not TOML ({error}); correct it") from None
        return self._entries


def fill(text: str, fields: Mapping[str, str]) -> str:
    """The text with every `{name}` replaced by its field. Raises KeyError for a name without a field.

    One pass: braces inside a field's own value are never looked at.
    """
    return _PLACEHOLDER.sub(lambda found: fields[found[1]], text)
