"""Streams that are missing or closed, terminals of no size, arguments that are no text: as cron, systemd,
pipes and other locales hand them to our programs."""

import asyncio
import os
import shlex
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from connection.server import connect, target
from testbed.fake_ollama import FakeOllama
from testbed.ports import free_port
from testbed.processes import ROOT
from testbed.world import World, until
from tests.desk.command_line import STARTER, Ran, Starter
from tests.runtime.worker_process import (
    WorkerProcess,
    argue,
    dev_ports,
    lives,
    status,
)

LATIN_1 = os.fsdecode(b"caf\xe9")
NO_TEXT = "'caf\\udce9' is not text in UTF-8. Type it anew"


class Shell:
    """Commands as somebody types them at a shell, `starter` for `python starter.py`."""

    def __init__(self, starter: Starter) -> None:
        self._starter = starter

    async def __call__(self, line: str, **environment: str) -> Ran:
        command = line.replace("starter", shlex.join([sys.executable, str(STARTER)]))
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"set -o pipefail; {command}"),
            cwd=self._starter.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self._starter.folder),
                "TEMPORAL_ADDRESS": self._starter.address,
                **environment,
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
        )
        return await self._starter.end(process)


@pytest.fixture
def shell(starter: Starter) -> Shell:
    return Shell(starter)


@pytest.fixture
async def starter(world: World) -> Starter:
    return Starter(world.file.parent, target(world.client))


# --- streams ---


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-", "2>/dev/full"])
async def test_a_missing_stream_is_no_failure(world: World, shell: Shell, streams: str) -> None:
    done = await shell(f"starter ask 'Is it so?' --task-id good --follow {streams}")
    assert (done.code, done.err) == (0, "")
    assert ("Synthesis" in done.out) == (">&-" not in streams.replace("2>&-", ""))
    world.ollama.script.models = ["another"]
    failed = await shell(f"starter ask 'Is it so?' --task-id bad --json {streams}")
    assert (failed.code, failed.out) == (1, "")
    assert "Traceback" not in failed.err
    assert {task.task_id: task.outcome for task in (await world.state()).finished} == {
        "good": "converged",
        "bad": "failed",
    }


@pytest.mark.parametrize(
    "command",
    [
        "ask 'Is it so?' --follow",
        "ask 'Is it so?' --json",
        "status",
        "tasks --json",
        "proposals",
        "ask --help",
    ],
)
async def test_a_reader_that_goes_away_does_not_stop_the_work(shell: Shell, command: str) -> None:
    ran = await shell(f"starter {command} | true")
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize("command", ["tasks", "tasks --json", "--help"])
async def test_an_answer_that_does_not_fit_on_the_disk_is_told(shell: Shell, command: str) -> None:
    ran = await shell(f"starter {command} >/dev/full")
    assert (ran.code, ran.sentence) == (2, "The answer could not be written: No space left on device")


async def test_where_nobody_can_be_asked_nothing_is_done(world: World, shell: Shell) -> None:
    ran = await shell("starter retire <&-")
    assert (ran.code, ran.sentence) == (
        2,
        "There is no terminal to ask at. Add --yes to retire without being asked",
    )
    assert (await shell("starter ask - <&-")).code == 1
    assert (await world.status()).phase == "active"


# --- sizes ---


@pytest.mark.parametrize("size", ["0", "1", "wide", "²", "9" * 5000])
async def test_a_terminal_of_no_size_is_one_of_the_usual_size(world: World, shell: Shell, size: str) -> None:
    await world.record_logs(1)
    sizes = {"COLUMNS": size, "LINES": size, "TERMINAL_WIDTH": size}
    for command, words in (
        ("logs", "outcome    dissonance  turns"),
        ("ask --help", "Usage: starter.py ask [OPTIONS]"),
    ):
        ran = await shell(f"starter {command}", **sizes)
        assert (ran.code, ran.err) == (0, "")
        assert words in ran.out


async def test_a_terminal_of_a_usable_size_is_believed(world: World, shell: Shell) -> None:
    for columns in (60, 150):
        ran = await shell("starter ask --help", COLUMNS=str(columns))
        assert max(map(len, ran.out.splitlines())) == columns


# --- what is no text ---


async def test_words_that_are_no_text_are_refused(world: World, starter: Starter) -> None:
    commands = (
        ["ask", LATIN_1],
        ["ask", "x", "--task-id", LATIN_1],
        ["ask", "x", "--type", LATIN_1],
        ["ask", "x", "--image", LATIN_1],
        ["show", LATIN_1],
        ["approve", "--yes", "--by", LATIN_1],
        ["approve", "--yes", "--set", LATIN_1],
        ["reject", "--yes", "--comment", LATIN_1],
        ["revert", "1", "--yes", "--by", LATIN_1],
        ["pause", "--reason", LATIN_1],
        ["snapshot", "--path", LATIN_1],
        ["memory", "search", LATIN_1],
    )
    for ran, command in zip(await starter.each(*commands), commands, strict=True):
        assert (ran.code, ran.sentence) == (2, NO_TEXT), command
    status = await world.status()
    assert (status.phase, status.queued + status.running + status.finished) == ("active", 0)


async def test_files_may_be_named_by_any_bytes(world: World, starter: Starter) -> None:
    settings = world.file.with_name(f"{LATIN_1}.toml")
    settings.write_text(world.file.read_text())
    assert (await starter("status", "--settings", settings.name)).code == 0
    told = await starter("doctor", "--json", "--settings", settings.name)
    assert told.finding("settings")["state"] == told.finding("adopted")["state"] == "ok"
    assert (await starter("snapshot")).code == 0
    [snapshot] = (world.file.parent / "snapshots").iterdir()
    copy = snapshot.with_name(f"{LATIN_1}.image")
    copy.write_bytes(snapshot.read_bytes())
    # An image in which nothing has happened makes room; what is said of that goes to the server.
    assert (await starter("retire", "--yes")).code == 0
    assert (await starter("start")).code == 0
    ran = await starter("restore", str(copy), "--yes", "--json")
    assert (ran.code, ran.json["image_id"], ran.json["replaces_newborn"]) == (0, world.name, True)
    memory = await starter("memory", "search", "x", "--state-dir", LATIN_1)
    assert (memory.code, memory.sentence) == (
        2,
        "$'caf\\351/memory.db' is no name in UTF-8, and Temporal and SQLite take no other; rename it",
    )
    missing = await starter("restore", f"no-{LATIN_1}")
    assert (missing.code, "cannot be read" in missing.sentence) == (2, True)


async def test_a_login_name_that_is_no_text_is_no_login_name(world: World, shell: Shell) -> None:
    pending = await world.pending_proposal()
    ran = await shell("starter approve --yes", LOGNAME=LATIN_1)
    assert (ran.code, ran.sentence) == (2, "This account has no login name. Say who decides: --by NAME")
    assert (await world.proposal(pending.loop_id)).state == "pending"


async def test_other_variables_may_hold_anything(shell: Shell) -> None:
    ran = await shell("starter snapshots", PWD=f"/{LATIN_1}", NAME=LATIN_1, LIVING_IMAGE_KEY=LATIN_1)
    assert ran.code == 0
    ran = await shell("starter status", TEMPORAL_NAMESPACE=LATIN_1)
    assert (ran.code, len(ran.sentence.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    "locale",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LANG": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
async def test_words_are_utf_8_whatever_the_locale(
    world: World, shell: Shell, locale: dict[str, str]
) -> None:
    ran = await shell('starter ask "Où est l\'été?" --task-id mine; starter tasks', **locale)
    assert (ran.code, ran.err) == (0, "")
    assert [task.task for task in (await world.state()).finished] == ["Où est l'été?"]
    assert "est l" in ran.out


# --- the worker ---


def redirected(streams: str) -> tuple[str, ...]:
    return ("bash", "-c", f'exec "$@" {streams}', "bash")


@pytest.mark.parametrize("streams", [">&- 2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
async def test_a_worker_needs_no_streams(tmp_path: Path, ollama: FakeOllama, streams: str) -> None:
    port = free_port()
    ports = ("--dev", "--port", str(port), "--ui-port", str(free_port()))
    async with WorkerProcess(tmp_path, *ports, prefix=redirected(streams), OLLAMA_HOST=ollama.url) as worker:

        async def awake() -> bool:
            assert worker.process.returncode is None
            try:
                return (await status(await connect(f"127.0.0.1:{port}"))).phase == "active"
            except Exception:
                return False

        await until(awake, 120)
        assert await argue(await connect(f"127.0.0.1:{port}"), "Trees or roofs?") == "converged"
        server = worker.server.pid
        assert await worker.stop(signal.SIGTERM) == 0
        assert not lives(server)


async def test_a_worker_without_streams_that_cannot_start_says_so_by_its_exit_code(tmp_path: Path) -> None:
    prefix = redirected(">&- 2>&-")
    async with WorkerProcess(tmp_path, "--settings", "none.toml", prefix=prefix) as worker:
        assert await worker.process.wait() == 2


async def test_a_worker_speaks_where_only_ascii_can_be_shown(tmp_path: Path, ollama: FakeOllama) -> None:
    folder = tmp_path / "süß"
    folder.mkdir()
    settings = WorkerProcess(folder).settings
    worker = WorkerProcess(
        tmp_path,
        *dev_ports(),
        *("--settings", str(settings)),
        OLLAMA_HOST=ollama.url,
        PYTHONIOENCODING="ascii",
        COLUMNS="0",
    )
    async with worker:
        await worker.awake()
        assert "--settings 's??/settings.toml'" in worker.out
        assert await worker.stop() == 0


async def test_nothing_that_worker_py_imports_takes_the_number_of_a_missing_stream(tmp_path: Path) -> None:
    """Only after the imports it gives these numbers to /dev/null."""
    code = (
        "import os, worker; n = os.open('free', os.O_CREAT | os.O_WRONLY); "
        "os.write(n, f'{n}{os.dup(n)}{os.dup(n)}'.encode())"
    )
    python = shlex.join([sys.executable, "-c", code])
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"exec {python} <&- >&- 2>&-"),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert await process.wait() == 0
    assert (tmp_path / "free").read_text() == "012"
