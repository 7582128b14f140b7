"""Named points at which a worker dies. hook/sitecustomize.py puts this into every Python process of it.

The interpreter tells of each file that is opened or moved before that happens (audit events), so none of the
program's functions is touched. A point is armed by writing its name into the file that ARMED names; whoever
comes to it takes that file away and kills the whole process group, the worker with all its processes.
"""

import os
import resource
import signal
import sys
import threading
import time
from pathlib import PurePath
from typing import Any, NoReturn

ARMED = "LIVING_IMAGE_CHAOS_ARMED"
POINTS = {
    "temporary": "between the temporary file and the backup",
    "replace": "between the temporary file and the replace",
    "replaced": "between the replace and the completion",
    "dump": "in the middle of a snapshot's dump",
    "dumped": "between a snapshot's dump and its place",
}
CUT_OFF_AT_BYTES = 1500
"""Where a dump is cut off: less than any snapshot has."""
LONGEST_DUMP_SECONDS = 0.1


def watch() -> None:
    """Die at the armed point from now on, in this process."""
    armed = os.environ.get(ARMED, "")
    replaced = False

    def heard(event: str, given: tuple[Any, ...]) -> None:
        nonlocal replaced
        if event == "os.rename":
            into = PurePath(os.fsdecode(given[1]))
            if into.parent.name == "settings.backups":
                die_at("temporary")
            elif into.name == "settings.toml":
                die_at("replace")
                replaced = True
            elif into.suffix == ".image":
                die_at("dumped")
        elif event == "open" and isinstance(given[0], str | os.PathLike):
            if replaced:
                replaced = False
                die_at("replaced")
            elif given[1] == "x" and os.fspath(given[0]).endswith(".tmp") and taken("dump"):
                _die_in_the_middle(os.fspath(given[0]))

    def die_at(point: str) -> None:
        if taken(point):
            die()

    def taken(point: str) -> bool:
        """Whether this point is armed; it is not any more."""
        try:
            # Not by `open`, of which this would be told.
            with os.fdopen(os.open(armed, os.O_RDONLY)) as file:
                if file.read() != point:
                    return False
            os.unlink(armed)  # noqa: PTH108 (pathlib may not be imported yet)
        except OSError:
            return False
        return True

    if armed:
        sys.addaudithook(heard)


def die() -> NoReturn:
    """Kill this process and all of its group."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise AssertionError("SIGKILL does not come back")


def _die_in_the_middle(path: str) -> None:
    """Die once some of a file is written, and not all of it; on a full disk, soon."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (CUT_OFF_AT_BYTES, most))
    latest = time.monotonic() + LONGEST_DUMP_SECONDS

    def written() -> int:
        try:
            return os.stat(path).st_size  # noqa: PTH116
        except FileNotFoundError:
            return 0

    def look() -> None:
        while written() < CUT_OFF_AT_BYTES and time.monotonic() < latest:
            pass
        die()

    threading.Thread(target=look, daemon=True).start()
