"""Real processes, to be killed."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from testbed.forked import Forked

ROOT = Path(__file__).parents[1]
TEMPORAL = Path(sys.executable).with_name("temporal")
MAY_MOUNT = shutil.which("unshare") and not subprocess.run(["unshare", "-m", "true"], check=False).returncode


@contextmanager
def worker_process(
    settings: Path, address: str, under: Sequence[str] = (), root: Path = ROOT, *, pinned: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """`python worker.py`, maybe under another program, beside a server that runs; it is not waited for."""
    command = [*under, sys.executable, str(root / "worker.py"), "--settings", str(settings)]
    command += ["--pinned"] if pinned else []
    environment = {**os.environ, "TEMPORAL_ADDRESS": address}
    with running(command, cwd=settings.parent, env=environment, stderr=subprocess.STDOUT) as process:
        yield process


def module_process(*arguments: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """`python -m ...`"""
    return running([sys.executable, "-m", *arguments], cwd=ROOT, stdin=subprocess.PIPE)


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose output is read by whoever wants it; killed at the end."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def kill(process: Forked | subprocess.Popen[bytes]) -> None:
    """SIGKILL, and wait until it is gone. Fails if it had ended by itself."""
    assert process.poll() is None, f"ended with code {process.poll()}"
    process.kill()
    while process.poll() is None:
        time.sleep(0.01)
