"""The image's processes, files and clock, and what can be done to them."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import psutil

from benchmarks.chaos.points import ARMED
from connection.namespace import ensure_search_attributes, keep_closed_runs
from connection.server import connect
from runtime.dev_server import DevServer
from testbed.fake_ollama import FakeOllama
from testbed.ports import free_ports
from testbed.processes import ROOT
from testbed.world import Image, until

HOOK = Path(__file__).with_name("hook")
CLOCKS = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1")
TMPFS_BYTES = 64 << 20
EVENTS_OF_A_RUN = 400
LOOK_SECONDS = 0.01
PROGRESS_WITHIN_SECONDS = 600.0


class Body:
    """An image that lives in a folder. Worker and server come back by themselves when they are killed.

    `may_fill`: the folder is a small disk of its own; `clock`: what makes the worker's clock jump, if that is
    there. `kills` counts by what was killed, `back` has the seconds from each kill to the next progress.
    """

    def __init__(self, folder: Path, fake: FakeOllama, may_mount: bool) -> None:
        self.folder, self.fake = folder, fake
        self.home = folder / "home"
        self.home.mkdir()
        self.may_fill = may_mount
        self.clock = next((found for place in CLOCKS for found in Path("/").glob(place[1:])), None)
        self.kills = {"worker": 0, "server": 0}
        self.back: list[float] = []
        self.story = folder / "story"
        # Only for as long as the clock is to jump: under libfaketime a workflow takes twice as long.
        self.jumpy = False
        self._armed, self._time = folder / "armed", folder / "time"
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            if self.may_fill:
                stack.enter_context(self._small_disk())
            self.server = await stack.enter_async_context(Server(self.folder / "server", *free_ports()))
            self.client = await connect(self.server.address)
            await ensure_search_attributes(self.client)
            await keep_closed_runs(self.client)
            self._log = stack.enter_context((self.folder / "worker.log").open("ab"))
            stack.push_async_callback(self._end)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @contextlib.contextmanager
    def _small_disk(self) -> Iterator[None]:
        """Mounted as the image's folder, and what is on it kept afterwards."""
        size = f"size={TMPFS_BYTES}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(self.home)], check=True)
        try:
            yield
        finally:
            shutil.copytree(self.home, left := self.folder / "left", symlinks=True)
            subprocess.run(["umount", "--lazy", str(self.home)], check=True)
            self.home.rmdir()
            left.rename(self.home)

    async def live(self, image: Image) -> None:
        """Let an image live here from now on."""
        self.image = image
        self.set_clock(0)
        await image.start()
        self._start_worker()
        self._keeping = asyncio.create_task(self._keep_worker())
        self._reader = self._start_reader()

        async def read() -> bool:
            return self.story.stat().st_size > 0

        await until(read)

    def _start_reader(self) -> subprocess.Popen[bytes]:
        self.story.touch()
        command = [sys.executable, "-m", "benchmarks.chaos.reader", str(self.image.file), str(self.story)]
        return subprocess.Popen(command, cwd=ROOT)

    async def _end(self) -> None:
        if hasattr(self, "_keeping"):
            self._keeping.cancel()
            self._kill_group()
            self._reader.kill()
            self._reader.wait()

    # --- the worker ---

    def _start_worker(self) -> None:
        environment = {
            **os.environ,
            "TEMPORAL_ADDRESS": self.server.address,
            "PYTHONPATH": f"{HOOK}{os.pathsep}{ROOT}",
            ARMED: str(self._armed),
        }
        if self.clock and self.jumpy:
            environment |= {
                "LD_PRELOAD": str(self.clock),
                "FAKETIME_TIMESTAMP_FILE": str(self._time),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
            }
        arguments = ("--settings", str(self.image.file), "--state-dir", str(self.home / ".state"))
        self.worker = subprocess.Popen(
            [sys.executable, str(ROOT / "worker.py"), *arguments],
            cwd=self.home,
            env=environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    async def _keep_worker(self) -> None:
        while True:
            while self.worker.poll() is None:  # noqa: ASYNC110 (a process has no event)
                await asyncio.sleep(LOOK_SECONDS)
            if self.worker.returncode != -signal.SIGKILL:
                await asyncio.sleep(0.2)  # it found no server
            self._start_worker()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.worker.pid, signal.SIGKILL)
        self.worker.wait()

    # --- kills ---

    async def kill(self, *victims: str) -> None:
        """SIGKILL the worker with all its processes, the server, or both."""
        began = time.monotonic()
        server, worker = self.server.process, self.worker
        if "server" in victims:
            self._count("server")
            with contextlib.suppress(psutil.NoSuchProcess):
                server.kill()
        if "worker" in victims:
            self._count("worker")
            self._kill_group()
        await self.progress_after(began, lambda: "server" not in victims or self.server.process != server)
        assert worker.poll() is not None or "worker" not in victims

    def arm(self, point: str) -> None:
        """Let the worker kill itself at a named point."""
        new = self._armed.with_suffix(".new")
        new.write_text(point)
        new.rename(self._armed)

    async def died_there(self, given_up: Callable[[], bool]) -> bool:
        """Wait until the worker has died at the armed point; false: it does not come there any more."""
        worker = self.worker
        while self._armed.exists() or worker.poll() is None:
            if given_up() and self._armed.exists():
                self._armed.unlink(missing_ok=True)
                return False
            await asyncio.sleep(LOOK_SECONDS)
        self._count("worker")
        return True

    def _count(self, victim: str) -> None:
        self.kills[victim] += 1

    async def progress_after(self, began: float, is_back: Callable[[], bool] = lambda: True) -> None:
        """Measure the seconds from a kill until a model is asked again, for which there must be tasks.

        Raises TimeoutError.
        """
        while not is_back():  # noqa: ASYNC110 (nor has another one)
            await asyncio.sleep(LOOK_SECONDS)
        before = len(self.fake.calls)
        await self.fake.until(lambda: len(self.fake.calls) > before, PROGRESS_WITHIN_SECONDS)
        self.back.append(time.monotonic() - began)

    # --- disk and clock ---

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """No room in the image's folder, for as long as this lasts."""
        filler = self.home / "filler"
        handle = os.open(filler, os.O_WRONLY | os.O_CREAT)
        try:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        os.write(handle, b"x" * size)
            yield
        finally:
            os.close(handle)
            filler.unlink()

    def set_clock(self, offset_seconds: int) -> None:
        """Let the worker's clock jump."""
        new = self._time.with_suffix(".new")
        new.write_text(f"{offset_seconds:+d}\n")
        new.rename(self._time)


class Server(DevServer):
    """It has the image continue as new every few rounds, so that chaos meets that as well."""

    def command(self) -> list[str]:
        setting = f"limit.historyCount.suggestContinueAsNew={EVENTS_OF_A_RUN}"
        return [*super().command(), "--dynamic-config-value", setting]
