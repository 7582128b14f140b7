"""Where things are unless somebody says otherwise."""

import os
import shlex
from pathlib import Path

from connection.problems import Problem

PROJECT = Path(__file__).parents[1]
"""This project's folder: where `python -m` finds its packages, wherever a command was started."""

SETTINGS = Path("settings.toml")
"""The settings file, in the folder where a command is typed."""

STATE_DIR = Path(".state")
"""The memory of this machine, and the data and logs of what `worker.py --dev` starts."""


def memory_file(state_dir: Path) -> Path:
    """Where this machine keeps what the image remembers. Raises Problem."""
    file = state_dir / "memory.db"
    require_text(file)
    return file


def require_text(*places: Path) -> None:
    """Make sure that Temporal and SQLite can take the names of these places. Raises Problem."""
    for place in places:
        try:
            str(place).encode()
        except UnicodeEncodeError:
            raise Problem(
                f"{quoted(str(place))} is no name in UTF-8, and Temporal and SQLite take no other; rename it"
            ) from None


def as_typed(place: Path | str) -> str:
    """A path, or the URL of a file, as one types it in this folder."""
    if isinstance(place, str) and "://" in place:
        return quoted(place)
    path, here = Path(place), Path.cwd()
    return quoted(str(path.relative_to(here) if path.is_relative_to(here) else path))


def quoted(text: str) -> str:
    """One word of a shell; what cannot be shown or copied, such as a newline, is written as octal bytes."""
    if text.isprintable():
        return shlex.quote(text)
    shown = (_octal(char) if char in "\\'" or not char.isprintable() else char for char in text)
    return f"$'{''.join(shown)}'"


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(char))
