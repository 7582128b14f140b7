"""A process that the worker starts, watches, starts again when it dies, and stops."""

import asyncio
import contextlib
import logging
import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil

from connection.places import PROJECT
from connection.problems import Problem

log = logging.getLogger(__name__)

# psutil can wait for our own children and for an adopted process alike, but only by looking.
LOOK_EVERY_SECONDS = 0.1
# A child that has lived this long was well: should it die, it is started again at once.
WELL_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 30.0


class ChildFailed(Problem):
    """A child process ended, or was not ready in time, when it was started."""


class ChildProcess(ABC):
    """One supervised process, ready on entry and stopped on exit; what it prints goes to `log_file`.

    A session of its own keeps the terminal's Ctrl-C from it: the worker stops its children in order.
    """

    name: str
    ready_within_seconds: float
    # The Temporal dev server takes up to 3 s to stop in order; after this a child is killed.
    stop_within_seconds = 10.0
    # Where the child runs: `python -m` finds our packages there.
    folder = PROJECT

    def __init__(self, log_file: Path) -> None:
        self.log_file = log_file
        self._log_offset = 0

    @abstractmethod
    def command(self) -> list[str]:
        """What to run; asked again for each start."""

    @abstractmethod
    async def is_ready(self) -> bool:
        """Whether the child does its work; asked several times a second after each start."""

    async def prepare(self) -> psutil.Process | None:
        """Called before the first start; a living process to go on with, instead of starting one, or None."""
        return None

    def launched(self) -> None:  # noqa: B027 - a hook; most children want nothing here
        """Called after each start, when `process` is the new process."""

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def output(self) -> str:
        """What the child has printed since its last start."""
        with self.log_file.open("rb") as file:
            file.seek(self._log_offset)
            return file.read().decode(errors="replace")

    async def __aenter__(self) -> Self:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        # Ends with the worker, however that ends: a child that reads its standard input can follow.
        self._stdin, self._lifeline = os.pipe()
        try:
            orphan = await self.prepare()
            if orphan is None or not await self._adopt(orphan):
                self.log_file.write_bytes(b"")
                await self._start()
        except BaseException:
            self._close_pipe()
            raise
        self._supervision = asyncio.create_task(self._supervise(), name=f"supervise {self.name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._supervision.cancel()
        await asyncio.gather(self._supervision, return_exceptions=True)
        await self._stop()
        self._close_pipe()

    def _close_pipe(self) -> None:
        os.close(self._stdin)
        os.close(self._lifeline)

    async def _adopt(self, orphan: psutil.Process) -> bool:
        self.process, self._started_at = orphan, time.monotonic()
        self._log_offset = self.log_file.stat().st_size if self.log_file.exists() else 0
        try:
            await self._until_ready()
        except ChildFailed as failure:
            log.warning("%s; it was left by an earlier worker and is started anew.", failure)
            return False
        log.info("Going on with the %s that an earlier worker left behind (pid %d).", self.name, self.pid)
        return True

    async def _start(self) -> None:
        """Start the child and wait until it is ready. Raises ChildFailed."""
        with self.log_file.open("ab") as output:
            self._log_offset = output.tell()
            self.process = psutil.Popen(
                self.command(),
                stdin=self._stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        self._started_at = time.monotonic()
        await self._until_ready(self.launched)

    async def _until_ready(self, launched: Callable[[], None] = lambda: None) -> None:
        """Raises ChildFailed; whatever it raises, the process has been stopped then."""
        try:
            launched()
            async with asyncio.timeout(self.ready_within_seconds):
                while not await self._works():  # noqa: ASYNC110 (a child has no event)
                    await asyncio.sleep(LOOK_EVERY_SECONDS)
        except TimeoutError:
            await self._stop()
            within = f"within {self.ready_within_seconds:g} s"
            raise ChildFailed(f"The {self.name} was not ready {within}: {self._last_words()}") from None
        except BaseException:
            await self._stop()
            raise

    async def _works(self) -> bool:
        ready = await self.is_ready()
        # Asked afterwards: a stranger on the same port may have given the answer.
        if has_ended(self.process):
            raise ChildFailed(f"The {self.name} ended at once: {self._last_words()}")
        return ready

    async def _supervise(self) -> None:
        pause = 0.0
        while True:
            await _end_of(self.process)
            if time.monotonic() - self._started_at > WELL_SECONDS:
                pause = 0.0
            log.warning("The %s died (pid %d); starting it again. See %s", self.name, self.pid, self.log_file)
            while True:
                await asyncio.sleep(pause)
                pause = min(max(1.0, 2 * pause), LONGEST_PAUSE_SECONDS)
                try:
                    await self._start()
                except (Problem, OSError) as failure:
                    log.warning("%s; trying again in %g s.", failure, pause)
                else:
                    log.info("The %s is back (pid %d).", self.name, self.pid)
                    break

    async def _stop(self) -> None:
        if not await stop(self.process, self.stop_within_seconds):
            log.warning("The %s (pid %d) did not stop when asked and was killed.", self.name, self.pid)

    def _last_words(self) -> str:
        lines = [line.strip() for line in self.output().splitlines() if line.strip()]
        return f"{lines[-1][:200] if lines else 'it printed nothing'} (see {self.log_file})"


async def stop(process: psutil.Process, patience_seconds: float) -> bool:
    """Ask a process to stop and wait for its end; False when it had to be killed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    try:
        async with asyncio.timeout(patience_seconds):
            await _end_of(process)
    except TimeoutError:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        await _end_of(process)
        return False
    return True


async def _end_of(process: psutil.Process) -> None:
    while not has_ended(process):  # noqa: ASYNC110 (nor its end)
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended; a child of ours is reaped by the question."""
    try:
        process.wait(timeout=0)
    except psutil.TimeoutExpired:
        # An orphan whose new parent does not reap it stays in the process table.
        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True
