"""SIGKILL of a worker while it saves an image, and while an image is brought back: both come to their end."""

import asyncio
from pathlib import Path

from temporalio.client import Client

from activities.snapshots.format import read
from messages.files import SnapshotReceipt
from testbed.fake_ollama import FakeOllama
from testbed.processes import kill
from testbed.world import until
from tests.desk.command_line import Starter
from tests.killing import Killed
from tests.locking import locked


async def test_a_worker_killed_while_it_saves_leaves_the_saving_to_the_next_one(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = Killed(client, ollama, tmp_path)
    world.edit({"motivator.idle_after": "200ms"})
    await world.start()

    async def saving() -> bool:
        pending = (await world.image.describe()).raw_description.pending_activities
        return any(each.activity_type.name == "write_snapshot" and each.attempt for each in pending)

    (tmp_path / "snapshots").mkdir()
    with locked(tmp_path / "snapshots"), world.process() as process:
        await world.record_logs(1)
        await until(saving)
        assert (await world.status()).saved_generation == 0
        kill(process)
    with world.process():

        async def saved() -> bool:
            return (await world.status()).saved_generation > 0

        await until(saved)
        for path in (tmp_path / "snapshots").iterdir():
            assert read(path.read_bytes(), b"").header.image_id == world.name


async def test_an_image_restored_while_its_worker_is_killed_goes_on_with_the_next(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = Killed(client, ollama, tmp_path)
    await world.start()
    ollama.answering.clear()
    starter = Starter(tmp_path, world.address)
    with world.process() as process:
        await world.submit("Half done?", task_id="half")
        await ollama.until(lambda: len(ollama.calls) == 1, 60)
        path = (await world.update("save_image", None, SnapshotReceipt)).path
        await world.image.terminate()
        restoring = asyncio.create_task(starter("restore", path, "--json"))
        kill(process)
        ran = await restoring
        assert ran.code == 0, ran.err
    ollama.answering.set()
    with world.process():
        (name,) = ran.json["queued_again"]

        async def finished() -> bool:
            return name in {task.task_id for task in (await world.state()).finished}

        await until(finished)
