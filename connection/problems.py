"""What stops a command, in one sentence for the person who typed it, and how a command ends."""

import contextlib
import logging
import os
import sys
from typing import NoReturn


class Problem(Exception):
    """Something only a person can mend. Its text is one sentence: what, where and what to do."""


class Refused(Problem):
    """All works, and the answer is no. `kind`: the type of the failure behind it, if it has one."""

    def __init__(self, sentence: str, kind: str = "") -> None:
        super().__init__(sentence)
        self.kind = kind


class Unknown(Problem):
    """What was asked about is not there."""


def leave(code: int) -> NoReturn:
    """End this process with an exit code, once everything it started has stopped.

    The Temporal SDK's own threads outlive the event loop, and an interpreter that shuts down under them
    aborts now and then with exit code 134 or 139 (temporalio/sdk-python#300). So it is not shut down.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # what could not be written has been told
            stream.flush()
    os._exit(code)
