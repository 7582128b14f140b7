"""Programs of ours in processes that have the libraries already: a second or two of each goes into imports.

Each is a process of its own, forked from a server that has imported what no environment variable touches.
"""

import asyncio
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["worker", "temporalio.envconfig"])


class Forked:
    """`python SCRIPT ARGUMENTS`, in a session of its own. It writes the files `out` and `err` anew."""

    def __init__(
        self,
        script: Path,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        out: Path,
        err: Path,
        stdin: Path = Path(os.devnull),
    ) -> None:
        for written in (out, err):
            written.write_bytes(b"")
        streams = (str(stdin), str(out), str(err))
        given = (str(script), list(arguments), str(folder), dict(environment), streams)
        self._process = FORKING.Process(target=_become, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, signum: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end; its exit code."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self.returncode is not None
        return self.returncode


def _become(
    script: str,
    arguments: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    streams: tuple[str, str, str],
) -> None:
    """Turn this fork into `python SCRIPT ARGUMENTS`, started in a folder."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(os.open(stream, os.O_RDWR | os.O_APPEND if number else os.O_RDONLY), number)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv, sys.path[0] = [script, *arguments], str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")
