"""A worker of this version takes over an image of an earlier one, in the middle of what it does."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from temporalio.client import Client

from testbed.fake_ollama import FakeOllama
from testbed.processes import ROOT, kill, worker_process
from testbed.world import exists, until
from tests.killing import Killed
from tests.workflows.verified import HARM, SETTINGS, ask, reversal, script, verdict_of, verification
from workflows.dialogue import Dialogue

EARLIER = "e6a483fd25"
"""The last commit without signatures, encryption and the door: approved changes are verified since then."""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it was."""
    archive = subprocess.run(["git", "archive", EARLIER], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"this clone has no commit {EARLIER}: `git fetch --unshallow`")
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


class Inherited(Killed):
    """An image that is begun by the project in another folder."""

    def __init__(self, client: Client, ollama: FakeOllama, folder: Path, earlier: Path) -> None:
        self.earlier = earlier
        self.shipped = earlier / "settings.toml"
        super().__init__(client, ollama, folder, SETTINGS)

    @contextmanager
    def begun(self) -> Iterator[subprocess.Popen[bytes]]:
        with worker_process(self.file, self.address, root=self.earlier) as worker:
            start = [sys.executable, str(self.earlier / "starter.py"), "start", "--settings", str(self.file)]
            environment = {**os.environ, "TEMPORAL_ADDRESS": self.address}
            subprocess.run(start, env=environment, cwd=self.file.parent, check=True, capture_output=True)
            yield worker


async def test_in_the_middle_of_a_loop_and_of_a_task(
    client: Client, ollama: FakeOllama, tmp_path: Path, earlier: Path
) -> None:
    world = Inherited(client, ollama, tmp_path, earlier)
    with world.begun() as worker:
        pending = await world.pending_proposal()
        ollama.answering.clear()
        task = await world.submit("Should the town plant trees?")
        dialogue = client.get_workflow_handle_for(Dialogue.run, task.workflow_id)
        await until(lambda: exists(dialogue))
        calls = len(ollama.calls)
        kill(worker)
        ollama.answering.set()
    with world.process():
        assert (await dialogue.result()).log.outcome == "converged"
        assert len(ollama.calls) > calls
        assert (await world.decide(pending.loop_id)).state == "approved"
        await world.loops_concluded()
        assert world.on_file().autopoiesis.max_turns == 3
        (entry,) = (await world.state()).ledger.amendments
        assert (entry.state, entry.decided_by) == ("approved", "Ada")
        view = await verification(world)
        assert (view.verdict, view.blocks) == (None, 0)


async def test_in_the_middle_of_a_verification(
    client: Client, ollama: FakeOllama, tmp_path: Path, earlier: Path
) -> None:
    ollama.script = script(HARM)
    world = Inherited(client, ollama, tmp_path, earlier)
    with world.begun() as worker:
        pending = await world.pending_proposal()
        await world.decide(pending.loop_id)
        await world.loops_concluded()
        await ask(world, HARM, 0, 6)
        kill(worker)
    with world.process():
        before = await verification(world)
        assert (before.verdict, before.blocks) == (None, 3)
        await ask(world, HARM, 6, 4)
        assert (await verdict_of(world, HARM)).verdict == "harmful"
        loop_id = await reversal(world)
        await world.proposal(loop_id)
        await world.decide(loop_id)
        await world.loops_concluded()
        assert world.on_file().autopoiesis.max_turns == 2
