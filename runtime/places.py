"""Where things are unless somebody says otherwise."""

import shlex
from pathlib import Path

PROJECT = Path(__file__).parents[1]
"""This project's folder: where `python -m` finds its packages, wherever a command was started."""

SETTINGS = Path("settings.toml")
"""The settings file, in the folder where a command is typed."""

STATE_DIR = Path(".state")
"""The memory of this machine, and the data and logs of what `worker.py --dev` starts."""


def memory_file(state_dir: Path) -> Path:
    """Where this machine keeps what the image remembers."""
    return state_dir / "memory.db"


def as_typed(place: Path | str) -> str:
    """A path, or the URL of a file, as one types it in this folder."""
    if isinstance(place, str) and "://" in place:
        return shlex.quote(place)
    path, here = Path(place), Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
