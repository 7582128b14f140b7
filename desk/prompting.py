"""Asking a person at the terminal, from within a command."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator

import typer

from connection.problems import Problem
from desk.problems import Interrupted


@contextlib.contextmanager
def prompting(otherwise: str) -> Iterator[None]:
    """Around a prompt. Raises Interrupted on Ctrl-C, Problem with what to do where nobody can be asked."""
    if not sys.stdin.isatty():
        raise Problem(f"There is no terminal to ask at. {otherwise}")
    # asyncio's own handler would note the Ctrl-C and let the prompt go on waiting.
    asyncios = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except typer.Abort:
        raise Interrupted("Nothing was done") from None
    finally:
        signal.signal(signal.SIGINT, asyncios)
