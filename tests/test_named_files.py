"""What text and code say of files of this project is true: each that is named is there."""

import io
import re
import tokenize
from pathlib import Path

import pytest

from tests.repository import PROJECT, files, text_of

TOPS = "|".join(re.escape(path.name) for path in PROJECT.iterdir() if path.is_dir())
PATH = re.compile(rf"(?<![\w./<-])(?:{TOPS})/[\w./-]*|(?<![\w./<*-])\w[\w./-]*\.py\b")
LINK = re.compile(r"\]\(([^):#]+)[^):]*\)")
SOURCES = [*files(".py")]


def prose(file: str) -> str:
    """All of a text; of a Python file its comments and docstrings."""
    text = text_of(file)
    if not file.endswith(".py"):
        return text
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    told = (word.string for word in tokens if word.type in (tokenize.COMMENT, tokenize.STRING))
    return "\n".join(word for word in told if word.startswith(("#", '"""')))


def missing(text: str) -> list[str]:
    """The paths in a text that lead to nothing. One of a Python file may leave its folders out."""
    named = {path.rstrip(".") for path in PATH.findall(text)}
    return sorted(
        path
        for path in named
        if not (PROJECT / path).exists() and not any(f"/{file}".endswith(f"/{path}") for file in SOURCES)
    )


@pytest.mark.parametrize("suffix", [".md", ".py", ".toml", ".yml", ".yaml", ".sh"])
def test_every_path_of_this_project_exists(suffix: str) -> None:
    assert {file: gone for file in files(suffix) if (gone := missing(prose(file)))} == {}


def test_every_link_to_a_file_leads_to_one() -> None:
    for file in files(".md"):
        for target in LINK.findall(text_of(file)):
            assert (PROJECT / Path(file).parent / target).exists(), (file, target)


def test_a_path_that_leads_nowhere_is_found() -> None:
    nowhere = "See `activities/gone.py`, tests/histories, model_server/asking.py and docs/gone."
    assert missing(nowhere) == ["activities/gone.py", "docs/gone"]
