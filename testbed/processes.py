"""Real processes for tests that kill them: a worker, a dev server."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAY_MOUNT = shutil.which("unshare") and not subprocess.run(["unshare", "-m", "true"], check=False).returncode


@contextmanager
def worker_process(
    settings: Path, address: str, under: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """`python worker.py`, maybe under another program, beside a server that runs; it is not waited for."""
    process = subprocess.Popen(
        [*under, sys.executable, str(ROOT / "worker.py"), "--settings", str(settings)],
        env={**os.environ, "TEMPORAL_ADDRESS": address},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=settings.parent,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL, and wait until it is gone. Fails if it had ended by itself."""
    assert process.poll() is None, process.stdout and process.stdout.read().decode()
    process.send_signal(signal.SIGKILL)
    process.wait()
