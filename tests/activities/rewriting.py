"""How rewrites of settings.toml are disturbed from outside, and how they fail."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
from temporalio.exceptions import ApplicationError

from testbed.processes import ROOT
from tests.activities import settings_files


def run(
    function: Callable[..., None], *arguments: object, under: Sequence[str] = (), **environment: str
) -> list[str]:
    """The lines printed by a function of settings_files, run as a program of its own, maybe under another."""
    program = [sys.executable, "-m", settings_files.__name__, function.__name__, *map(str, arguments)]
    done = subprocess.run(
        [*under, *program],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def failure(action: Callable[[], object]) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        action()
    return caught.value
