"""The files of this project, by their paths from its folder on."""

from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def files(suffix: str) -> Iterator[str]:
    """All of a kind, but for what is hidden, such as an environment."""
    for top in sorted(PROJECT.iterdir()):
        if not top.name.startswith("."):
            found = [top] if top.is_file() else sorted(top.rglob("*"))
            yield from (path.relative_to(PROJECT).as_posix() for path in found if path.suffix == suffix)


def text_of(file: str) -> str:
    return (PROJECT / file).read_text(encoding="utf-8")
