"""Another process that holds the memory's file, as a database browser with unsaved changes does."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HOLD = """
import sqlite3, sys
browser = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
for statement in sys.argv[2:]:
    browser.execute(statement)
print("held", flush=True)
sys.stdin.read()
"""
WRITING = ("BEGIN EXCLUSIVE",)
ALONE = ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE", "PRAGMA user_version", "COMMIT")
"""Not even readers are let in, also between transactions."""


@contextmanager
def held(path: Path, statements: tuple[str, ...] = WRITING) -> Iterator[None]:
    browser = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path), *statements], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert browser.stdout is not None
        assert browser.stdout.readline() == b"held\n"
        yield
    finally:
        browser.kill()
        browser.communicate()
