"""Reads prompts.toml, the words that personas are told, and fills in the placeholders."""

import hashlib
import json
import logging
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from configuration.team import COMMON_ENTRIES, TEAM, Team

PROMPTS = Path(__file__).resolve().parent.parent / "prompts.toml"

# Placeholders of a later version: a call that was asked for before they were there must still be filled.
_ADDED = {"research": {"memory": ""}}
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

log = logging.getLogger(__name__)


class BrokenPrompts(ValueError):
    """prompts.toml cannot be used; the message says what is wrong, where, and what to do."""


class Words(BaseModel):
    """One entry of prompts.toml."""

    model_config = ConfigDict(extra="forbid")

    system: _Text
    user: _Text


_FILE = TypeAdapter(dict[str, Words])


def _entries(text: str) -> dict[str, Words]:
    """What a file says; entries without a `system` have the one before all entries. Raises ValueError."""
    values = tomllib.loads(text)
    shared = values.pop("system", None)
    if shared is not None:
        for entry in values.values():
            if isinstance(entry, dict):
                entry.setdefault("system", shared)
    return _FILE.validate_python(values)


def _digest(entries: Mapping[str, Words], team: Team) -> str:
    argued = {entry for member in team for entry in member.entries}
    words = {name: entry.model_dump() for name, entry in entries.items() if name in argued}
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def required_entries(team: Team = TEAM) -> dict[str, str]:
    """The entries that prompts.toml must have, and who speaks with each."""
    own = {entry: f"{member.name}, {member.role}," for member in team for entry in member.entries}
    return own | dict.fromkeys(COMMON_ENTRIES, "The team")


class Prompts:
    """The entries of one prompts.toml, read again when the file has changed."""

    def __init__(self, path: Path = PROMPTS, team: Team = TEAM) -> None:
        self._path = path
        self._team = team
        self._required = required_entries(team)
        self._entries: dict[str, Words] = {}
        self._version: tuple[int, int] | None = None
        self.digest = ""
        """Names the words that arguments are made with, as last read; comments and layout are no words."""

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
                self._entries = _entries(self._path.read_text(encoding="utf-8-sig"))
                self._version = version
                self.digest = _digest(self._entries, self._team)
                self._tell_missing()
        except OSError as error:
            raise BrokenPrompts(f"{self._path} cannot be read ({error.strerror}); restore it") from None
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise BrokenPrompts(f"{self._path}, {where}: {problem['msg']}; correct it") from None
        except RecursionError:
            raise BrokenPrompts(f"{self._path} is nested too deeply; correct it") from None
        except ValueError as error:  # Not TOML, or not UTF-8.
            raise BrokenPrompts(f"{self._path} is not TOML ({error}); correct it") from None
        return self._entries

    def _tell_missing(self) -> None:
        for entry, who in self._required.items():
            if entry not in self._entries:
                log.warning("%s has no entry [%s]; %s cannot speak without it.", self._path, entry, who)


def fill(text: str, fields: Mapping[str, str]) -> str:
    """The text with every `{name}` replaced by its field. Raises KeyError for a name without a field.

    One pass: braces inside a field's own value are never looked at.
    """
    return _PLACEHOLDER.sub(lambda found: fields[found[1]], text)
