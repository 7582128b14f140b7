"""Reads settings.toml, and refuses in one sentence what cannot be read, or should not even be parsed."""

import os
import pwd
import re
import tomllib
from pathlib import Path
from typing import Any

from configuration import InvalidSettings, Settings
from configuration.passwords import WHERE_PLACES_LOOK, has_password

MOST_BYTES = 1 << 20
"""Two hundred times the shipped file. This much is rewritten in seconds; ten of it would take minutes."""

MOST_LINES = 10_000
"""A hundred times the shipped file. With the square of the lines grows what a rewrite takes."""

_MOST_DOTS = 32
"""Of the keys in one line. With the square of them grows what reading it takes."""
_TEXT_OR_COMMENT = re.compile(r"""\"(?:\\.|[^"\\])*\"|'[^']*'|\#.*""")

BYTE_ORDER_MARK = "\ufeff"


class SettingsUnreadable(OSError):
    """The file is missing or may not be read; the message says where it was looked for and what to do."""


def load_settings(path: Path) -> Settings:
    """The settings that a file holds. Raises InvalidSettings or SettingsUnreadable."""
    return parse_settings(path, read_text(path))


def read_values(path: Path) -> dict[str, Any]:
    """What a file says, whether that makes settings or not. Raises InvalidSettings or SettingsUnreadable."""
    return parse_values(path, read_text(path))


def read_text(path: Path) -> str:
    """The text of a file, as it is. Raises InvalidSettings or SettingsUnreadable."""
    try:
        if path.is_fifo():
            raise unreadable(path, "it is a pipe")  # which would keep its reader waiting for a writer
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except SettingsUnreadable:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    if len(data) > MOST_BYTES:
        raise InvalidSettings(
            f"{path} is larger than the {MOST_BYTES >> 20} MiB a settings file may have, so it was not read; "
            "take out what is no setting"
        )
    if data.count(b"\n") > MOST_LINES:
        raise InvalidSettings(
            f"{path} has more than the {MOST_LINES:,} lines a settings file may have, so it was not read; "
            "take out what is no setting"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidSettings(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from None


def parse_settings(path: Path, text: str) -> Settings:
    """The settings that the text of a file makes. Raises InvalidSettings, which names the file."""
    values = parse_values(path, text)
    try:
        settings = Settings.parse(values)
    except InvalidSettings as error:
        raise InvalidSettings(f"{path}: {error}") from None
    except RecursionError:
        raise _too_deep(path) from None
    _refuse_passwords(path, settings)
    return settings


def _refuse_passwords(path: Path, settings: Settings) -> None:
    """Here and not where settings are made: histories of before may hold one, and go on."""
    if has_password(settings.models.host):
        raise InvalidSettings(
            f"{path}: [models] host holds a password, which would stand in every history; a key for the "
            "model server goes into OLLAMA_API_KEY"
        )
    if has_password(settings.system.image_path):
        raise InvalidSettings(
            f"{path}: [system] image_path holds a password, which would stand in every history; "
            f"{WHERE_PLACES_LOOK}"
        )


def resolve(path: Path) -> Path:
    """The file behind a symbolic link, so that the link itself stays. Raises SettingsUnreadable."""
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, reason: object) -> SettingsUnreadable:
    reason = getattr(reason, "strerror", None) or reason
    return SettingsUnreadable(
        f"{path} cannot be read ({reason}); put the file there, or let {login(os.geteuid())} read it"
    )


def login(uid: int) -> str:
    """A user's login name, or the number where the machine knows no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def parse_values(path: Path, text: str) -> dict[str, Any]:
    """What the text of a file says, whether that makes settings or not. Raises InvalidSettings."""
    for number, line in enumerate(text.split("\n"), 1):
        if _TEXT_OR_COMMENT.sub("", line).count(".") > _MOST_DOTS:
            raise _too_deep(f"{path}, line {number}")
    try:
        # The reader is not tomlkit, so that a rewritten text is checked by other eyes than its writer's.
        return tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError as error:
        end = f"at line {text.count(chr(10)) + 1}, the end of the file"
        told = str(error).replace("at end of document", end)
        # A key of any length may stand at its beginning, the place is at its end.
        raise InvalidSettings(
            f"{path}: {told if len(told) <= 300 else ' '.join(told[-299:].split())}"
        ) from None


def _too_deep(where: Path | str) -> InvalidSettings:
    return InvalidSettings(
        f"{where}: lists or tables are nested too deeply; no setting is deeper than [custom.NAME]"
    )
