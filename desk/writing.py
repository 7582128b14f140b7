"""Files that a command is told to write: whole or not at all, and a sentence where that cannot be."""

import csv
import io
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from errno import EISDIR
from pathlib import Path
from uuid import uuid4

from connection.problems import Problem
from messages.visible import visible

STDOUT = Path("-")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def require_writable(path: Path) -> None:
    """To be called before much work is done for a file. Raises Problem."""
    with _beside(path):
        pass


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in the place of another one, or leave all as it was. Raises Problem."""
    with _beside(path) as beside:
        beside.write_bytes(content)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            beside.chmod(stat.S_IMODE(path.stat().st_mode))
        beside.replace(path)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An empty file in the folder of another one, which is gone afterwards."""
    beside = path.parent / f".{uuid4().hex}.new"
    try:
        if path.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        beside.open("xb").close()
        yield beside
    except OSError as error:
        where = "Name a file in a folder that is there and may be written to"
        raise Problem(f"{path} cannot be written ({error.strerror}). {where}") from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def save_csv(path: Path, heads: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """A header row and the rows, in UTF-8; `-` is stdout. Raises Problem."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([_cell(row.get(head)) for head in heads] for row in rows)
    content = text.getvalue().encode()
    if path != STDOUT:
        write_whole(path, content)
        return
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _cell(value: object) -> object:
    """Numbers as they are, moments with their zone, texts so that no spreadsheet computes them."""
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        return value
    told = visible(value)
    return f"'{told}" if told.startswith(FORMULA) and not _is_number(told) else told


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
