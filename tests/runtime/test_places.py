"""A project folder may be called anything, and so may what is in it."""

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from connection.places import as_typed
from connection.server import target
from connection.web_ui import RECORD, read_record
from runtime.dev_server import run_dev_server
from testbed.fake_ollama import FakeOllama
from testbed.ports import free_ports as two_free_ports
from testbed.processes import ROOT
from testbed.world import exists
from tests.runtime.worker_process import (
    WorkerProcess,
    dev_ports,
    environment_of,
    lives,
)

NAMES = (
    "#",
    "?",
    "%20",
    "a b",
    'it\'s "$HOME" `x`',
    "süß",
    "new\nline",
    ":cow: [red]",
    "back\\",
    "file:x::y",
)
AWKWARD = 'it\'s #1?\n100%20 "$HOME" [red] süß'
PROGRAM = (
    *("activities", "configuration", "connection", "desk", "door"),
    *("messages", "optimizer", "runtime", "workflows"),
)


def inside(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def databases(folder: Path) -> set[Path]:
    return set(folder.rglob("*.db"))


@pytest.mark.parametrize("name", NAMES)
async def test_the_database_is_in_its_folder_and_another_folder_has_another(
    tmp_path: Path, free_ports: tuple[int, int], name: str
) -> None:
    one, other = tmp_path / f"{name}1" / ".state", tmp_path / f"{name}2" / ".state"
    for state_dir in (one, other):
        state_dir.mkdir(parents=True)
    async with run_dev_server(one, *free_ports) as (_, client):
        await client.start_workflow("SomeWorkflow", id="some-workflow", task_queue="nobody")
    async with run_dev_server(other, *free_ports) as (_, client):
        assert not await exists(client.get_workflow_handle("some-workflow"))
    async with run_dev_server(one, *free_ports) as (_, client):
        assert await exists(client.get_workflow_handle("some-workflow"))
    assert databases(tmp_path) == {one / "temporal.db", other / "temporal.db"}
    assert inside(tmp_path) == {f"{name}1", f"{name}2"}


async def test_a_copied_folder_leaves_the_server_of_the_first_alone(
    tmp_path: Path, free_ports: tuple[int, int]
) -> None:
    first, copy = tmp_path / "first", tmp_path / "copy"
    first.mkdir()
    async with run_dev_server(first, *free_ports) as (server, _):
        pid = server.pid
        copy.mkdir()
        shutil.copy(first / RECORD, copy)
        async with run_dev_server(copy, *two_free_ports()) as (another, client):
            assert another.pid != pid
            assert another.address == target(client)
        assert lives(pid)
        record = read_record(first)
        assert record is not None
        assert record.pid == server.pid == pid


async def typed(command: str, cwd: Path, environment: dict[str, str]) -> str:
    """What a command prints that somebody has copied into a shell."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, cwd=cwd, env=environment, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (command, out, err)
    return out.decode()


@pytest.mark.timeout(600)  # two lives, and eight programs in each
async def test_a_whole_project_in_an_awkward_folder_lives_and_its_banner_can_be_copied(
    tmp_path: Path, ollama: FakeOllama
) -> None:
    project, elsewhere = tmp_path / AWKWARD, tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    for package in PROGRAM:
        shutil.copytree(ROOT / package, project / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("worker.py", "starter.py", "prompts.toml", "settings.toml", "pyproject.toml"):
        shutil.copy(ROOT / file, project)
    settings = project / "settings.toml"
    settings.write_text(settings.read_text().replace('"snapshots"', '"kept #1? 100%20 [x]"'))
    ports = dev_ports()
    environment = environment_of(tmp_path, {"OLLAMA_HOST": ollama.url})
    for life in (1, 2):
        worker = WorkerProcess(
            project,
            *ports,
            *("--settings", str(settings), "--state-dir", str(project / ".state")),
            program=(sys.executable, str(project / "worker.py")),
            cwd=elsewhere,
            OLLAMA_HOST=ollama.url,
        )
        async with worker:
            await worker.awake()
            banner = worker.out.partition("Next, in another terminal:")[2].partition("\nCtrl-C")[0]
            export, *commands = (line.strip() for line in banner.strip().splitlines())
            assert len(commands) == 3
            for command in commands:
                said = await typed(f"{export}\n{command}", elsewhere, environment)
            starter = commands[1].replace(" status ", " {} ")
            said = await typed(f"{export}\n{starter.format('snapshot')}", elsewhere, environment)
            place = said.partition(" is in ")[2].rpartition(": ")[0]
            await typed(f"test -s {place}", elsewhere, environment)
            assert "/kept #1? 100%20 [x]/" in place
            said = await typed(f"{export}\n{starter.format('snapshots')}", elsewhere, environment)
            assert said.count("verifies") == life
            said = await typed(
                f"{export}\n{starter.format('memory rebuild')} --state-dir {as_typed(project / '.state')}",
                elsewhere,
                environment,
            )
            assert f"remembers {life} task" in said
            assert await worker.stop(signal.SIGINT) == 0
            assert "Traceback" not in worker.err
    assert databases(tmp_path) == {project / ".state" / "temporal.db", project / ".state" / "memory.db"}
    assert inside(elsewhere) == set()


@pytest.mark.parametrize("option", ["--settings", "--state-dir"])
async def test_a_name_that_is_no_text_is_refused_before_anything_is_started(
    tmp_path: Path, option: str
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    async with WorkerProcess(tmp_path, *dev_ports(), option, str(folder / "x")) as worker:
        assert await worker.process.wait() == 2
    [sentence] = worker.err.splitlines()
    assert sentence == (
        f"$'{folder.parent}/caf\\351/x' is no name in UTF-8, and Temporal and SQLite take no other; rename it"
    )


@pytest.mark.parametrize("name", [*NAMES, AWKWARD, os.fsdecode(b"caf\xe9 'x' \\"), "tab\tand\x1b[31m", "-x"])
async def test_a_path_as_typed_is_that_path_and_safe_to_show(tmp_path: Path, name: str) -> None:
    word = as_typed(tmp_path / name)
    assert word.isprintable()
    process = await asyncio.create_subprocess_exec("bash", "-c", f"printf %s {word}", stdout=PIPE)
    assert (await process.communicate())[0] == os.fsencode(tmp_path / name)
