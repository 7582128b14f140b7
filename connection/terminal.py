"""The streams and the size of a terminal, as a program may be given them: missing, closed, absurd."""

import contextlib
import io
import os
import sys
from typing import Any, TextIO

SIZES = ("COLUMNS", "LINES", "TERMINAL_WIDTH")
# Below this our tables cannot be read; rich takes 0 at its word, and makes a line of every letter at 1.
SMALLEST, MOST_DIGITS = 40, 4


def prepare(*, answers: bool = False) -> None:
    """To be called first of all, before a file is opened or the size of the terminal is asked for.

    A missing stream is no failure: what would be said there is dropped, and the work goes on. `answers`: what
    is written to stdout is the work, so that a full disk there is an error.
    """
    for number in range(3):
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which a socket would take otherwise
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 (a number, open as long as we live)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    sys.stdout = _stream(1, sys.stdout, ConnectionError if answers else OSError)
    sys.stderr = _stream(2, sys.stderr, OSError)
    for name in SIZES:
        size = os.environ.get(name, "")
        digits = size.isascii() and size.isdigit() and len(size) <= MOST_DIGITS
        if not digits or int(size) < SMALLEST:
            os.environ.pop(name, None)


class _Lossy(io.FileIO):
    """A file that drops what it can no longer take."""

    def __init__(self, number: int, dropped: type[OSError]) -> None:
        super().__init__(number, "wb", closefd=False)
        self._dropped = dropped

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except self._dropped:
            return memoryview(data).nbytes


def _stream(number: int, given: TextIO | None, dropped: type[OSError]) -> TextIO:
    if given is not None:
        given.flush()
    # A terminal that cannot show a character shows a question mark.
    return io.TextIOWrapper(
        io.BufferedWriter(_Lossy(number, dropped)),
        encoding=given.encoding if given is not None else None,
        errors="replace",
        line_buffering=number == 2 or os.isatty(number),
    )
