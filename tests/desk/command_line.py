"""`python starter.py ...` as real processes, in a folder with a settings.toml, against a real server."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any, NamedTuple

from testbed.forked import Forked
from testbed.processes import ROOT

STARTER = ROOT / "starter.py"


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def finding(self, check: str) -> dict[str, str]:
        """The one finding of a check, as `doctor --json` tells it."""
        [finding] = [finding for finding in self.json["findings"] if finding["check"] == check]
        return dict(finding)

    @property
    def sentence(self) -> str:
        """What a command that came to nothing said: one line, and nothing on stdout."""
        assert self.out == ""
        assert len(self.err.splitlines()) == 1, self.err
        return self.err.strip()


class Starter:
    """Runs commands in `folder`; `address`: the Temporal server. `environment` is added to theirs."""

    def __init__(self, folder: Path, address: str, **environment: str) -> None:
        self.folder = folder
        self.address = address
        self.environment = environment
        self._processes: list[Process] = []

    async def __call__(self, *arguments: str, stdin: bytes | None = None) -> Ran:
        """Run a command to its end."""
        with tempfile.TemporaryDirectory() as streams:
            given, out, err = (Path(streams) / name for name in ("in", "out", "err"))
            given.write_bytes(stdin or b"")
            environment = self.environment_of_commands()
            process = Forked(STARTER, arguments, self.folder, environment, stdin=given, out=out, err=err)
            try:
                code = await process.wait()
            finally:
                process.kill()
            return Ran(code, out.read_text(), err.read_text())

    async def each(self, *commands: list[str]) -> list[Ran]:
        """Several commands at once."""
        return await asyncio.gather(*(self(*command) for command in commands))

    async def begin(self, *arguments: str, stdin: int = DEVNULL, terminal: int | None = None) -> Process:
        """Begin `python starter.py ...`. `terminal`: what it writes to instead of pipes."""
        environment = self.environment_of_commands() | (
            {} if terminal is None else {"TERM": "xterm-256color"}
        )
        if terminal is not None:
            del environment["COLUMNS"]
        command = (sys.executable, str(STARTER), *arguments)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=stdin,
            stdout=PIPE if terminal is None else terminal,
            stderr=PIPE if terminal is None else terminal,
            cwd=self.folder,
            env=environment,
        )
        self._processes.append(process)
        return process

    async def end(self, process: Process, stdin: bytes | None = None) -> Ran:
        out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    def environment_of_commands(self) -> dict[str, str]:
        """What commands find around them: nothing of whoever runs the tests."""
        return {
            "COLUMNS": "200",
            **self.environment,
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LOGNAME": "marie",
            "TEMPORAL_ADDRESS": self.address,
        }

    def stop_all(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
