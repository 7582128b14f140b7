"""A child process is watched from its start to its end, whatever it does."""

import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from runtime.child_process import ChildFailed, ChildProcess
from testbed.world import until
from tests.runtime.worker_process import lives

READY_THEN_WAIT = "print('ready', flush=True); time.sleep(600)"


class Script(ChildProcess):
    """A Python script that is ready when it prints so."""

    name = "script"
    ready_within_seconds = 60.0

    def __init__(self, folder: Path, source: str) -> None:
        super().__init__(folder / "script.log")
        self._source = f"import os, pathlib, signal, sys, time\n{textwrap.dedent(source)}"
        self.started: list[int] = []

    def command(self) -> list[str]:
        return [sys.executable, "-c", self._source]

    async def is_ready(self) -> bool:
        return "ready" in self.output()

    def launched(self) -> None:
        self.started.append(self.pid)


async def test_it_is_ready_on_entry_and_gone_on_exit(tmp_path: Path) -> None:
    async with Script(tmp_path, READY_THEN_WAIT) as script:
        assert lives(script.pid)
    assert not lives(script.pid)


async def test_ctrl_c_in_the_terminal_does_not_reach_it(tmp_path: Path) -> None:
    async with Script(tmp_path, READY_THEN_WAIT) as script:
        assert os.getsid(script.pid) != os.getsid(0)
        assert os.getpgid(script.pid) == script.pid


async def test_one_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    script = Script(tmp_path, "print('Port 7 is taken.'); sys.exit(1)")
    with pytest.raises(ChildFailed) as caught:
        await script.__aenter__()
    assert str(caught.value) == (
        f"The script ended at once: Port 7 is taken. (see {tmp_path / 'script.log'})"
    )


async def test_one_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    script = Script(tmp_path, "time.sleep(600)")
    script.ready_within_seconds = 0.5
    with pytest.raises(ChildFailed, match=r"was not ready within 0\.5 s: it printed nothing"):
        await script.__aenter__()
    assert not lives(script.pid)


async def test_one_that_does_not_stop_when_asked_is_killed(tmp_path: Path) -> None:
    script = Script(tmp_path, f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY_THEN_WAIT}")
    script.stop_within_seconds = 0.5
    async with script:
        pass
    assert not lives(script.pid)


async def test_one_that_is_killed_is_started_again(tmp_path: Path) -> None:
    async with Script(tmp_path, READY_THEN_WAIT) as script:
        os.kill(script.pid, signal.SIGKILL)

        async def back() -> bool:
            return len(script.started) == 2 and await script.is_ready()

        await until(back)
        first, second = script.started
        assert not lives(first)
        assert lives(second)
    assert not lives(second)


async def test_one_that_fails_to_come_back_is_tried_again(tmp_path: Path) -> None:
    source = f"""
        starts = pathlib.Path({str(tmp_path / "starts")!r})
        with starts.open("a") as file:
            file.write("x")
        if len(starts.read_text()) in (2, 3):
            sys.exit("not now")
        {READY_THEN_WAIT}
    """
    async with Script(tmp_path, source) as script:
        os.kill(script.pid, signal.SIGKILL)

        async def back() -> bool:
            return len(script.started) == 4 and await script.is_ready()

        await until(back)
