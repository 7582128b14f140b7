"""Two versions side by side: what began with one ends with it, and an image goes on when a person says so."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from connection.server import connect
from connection.version import VERSION
from messages.image import ImageStatus
from runtime.dev_server import DevServer
from testbed.fake_ollama import FakeOllama
from testbed.processes import ROOT, TEMPORAL, kill, worker_process
from testbed.world import Image, until
from workflows.dialogue import Dialogue

NEXT = "99.0.0"


def next_version(folder: Path) -> Path:
    """This project, as it is, with another version."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    for name in tracked.stdout.split("\0"):
        if name.endswith((".py", ".toml")) and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    project = folder / "pyproject.toml"
    project.write_text(project.read_text().replace(f'version = "{VERSION}"', f'version = "{NEXT}"', 1))
    return folder


async def version_of(workflow: WorkflowHandle[Any, Any]) -> str:
    """The version of the program that went on with a workflow last."""
    told = (await workflow.describe()).raw_description.workflow_execution_info.versioning_info
    return told.deployment_version.build_id


async def test_an_image_goes_on_with_the_version_that_a_person_names_and_its_tasks_with_theirs(
    mortal_server: DevServer, ollama: FakeOllama, tmp_path: Path
) -> None:
    client = await connect(mortal_server.address)
    image = Image(client, ollama.url, tmp_path)
    await image.start()
    with worker_process(image.file, image.address, pinned=True) as this:
        await image.ask("Is it up?")
        asked = len(ollama.calls)
        assert await version_of(image.image) == VERSION

        ollama.answering.clear()
        task = await image.submit("Should the town plant trees?")
        dialogue = client.get_workflow_handle_for(Dialogue.run, task.workflow_id)
        await ollama.until(lambda: len(ollama.calls) > asked, 60)
        folder = tmp_path / "next"
        with worker_process(image.file, image.address, root=next_version(folder), pinned=True) as that:
            assert that.stdout
            said = [""]
            while "set-current-version" not in said[-1]:
                said.append((await asyncio.to_thread(that.stdout.readline)).decode())
                assert said[-1], said
            assert f"Version {NEXT} waits: {VERSION} is current" in "".join(said)
            command = said[-1].split()
            assert re.search(rf"--build-id {re.escape(NEXT)}\b", " ".join(command))

            async def advances() -> bool:
                # The server refuses until it has heard of both task queues of the new workers.
                advance = await asyncio.create_subprocess_exec(TEMPORAL, *command[1:], "--yes")
                return await advance.wait() == 0

            await until(advances)

            async def has_gone_on() -> bool:
                await image.update("pause", {"reason": "to see it go on"}, ImageStatus)
                return await version_of(image.image) == NEXT

            await until(has_gone_on)
            await image.update("resume", None, ImageStatus)
            assert (await image.status()).runs == 2
            assert await version_of(dialogue) == VERSION
            ollama.answering.set()
            await dialogue.result()
            assert await version_of(dialogue) == VERSION
            kill(this)
            assert (await image.ask("And now?")).synthesis
