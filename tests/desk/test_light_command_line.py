"""The command line is quick because it loads no more than what was typed needs."""

import subprocess
import sys
from pathlib import Path

import pytest

from testbed.world import World
from tests.desk.command_line import Starter
from tests.repository import PROJECT

HEAVY = {"apsw", "sqlite_vec", "rapidfuzz", "fsspec", "ollama", "dill", "numpy", "cryptography", "asyncssh"}
AT_WORK = {"activities", "runtime", "worker"}


async def loaded(folder: Path, address: str, *arguments: str) -> set[str]:
    """The top-level names of all modules that a command loads, in a process of its own."""
    starter = Starter(folder, address, PYTHONPROFILEIMPORTTIME="1")
    ran = await starter.end(await starter.begin(*arguments))
    assert ran.code == 0
    modules = [line.rpartition("|")[2].strip() for line in ran.err.splitlines() if "|" in line]
    assert "desk.app" in modules
    return {module.partition(".")[0] for module in modules}


async def test_help_loads_no_client_and_no_message(tmp_path: Path) -> None:
    rooms = await loaded(tmp_path, "127.0.0.1:1", "--help")
    assert not rooms & (HEAVY | AT_WORK | {"temporalio", "pydantic", "configuration", "workflows"})


@pytest.mark.parametrize("question", ["status", "tasks", "proposals", "verification"])
async def test_a_question_to_the_image_loads_nothing_that_does_its_work(question: str, world: World) -> None:
    rooms = await loaded(world.file.parent, world.client.service_client.config.target_host, question)
    assert "temporalio" in rooms
    assert not rooms & (HEAVY | AT_WORK)


def test_a_worker_begins_without_what_it_seldom_needs() -> None:
    seldom = {"numpy", "rapidfuzz", "asyncssh", "sklearn", "scipy"}
    program = f"import sys, worker; print(*{seldom} & {{*sys.modules}})"
    ran = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, check=True)
    assert ran.stdout.split() == []
