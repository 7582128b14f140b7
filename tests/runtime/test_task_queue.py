"""[system] task_queue edited while no worker runs: the image lives on where it was, and a worker says so."""

from pathlib import Path

from temporalio.client import Client

from connection.server import target
from testbed.fake_ollama import FakeOllama
from testbed.world import World
from tests.runtime.worker_process import WorkerProcess


def worker_of(world: World, *arguments: str) -> WorkerProcess:
    address, folder = target(world.client), world.file.parent
    return WorkerProcess(folder, *arguments, OLLAMA_HOST=world.ollama.url, TEMPORAL_ADDRESS=address)


async def test_a_worker_that_would_wait_where_its_image_is_not_says_so_and_ends(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = World(client, ollama, tmp_path)
    await world.start()
    world.edit({"system.task_queue": "elsewhere"})
    lives = f'this image lives on "{world.name}" and cannot move; set it back'
    for arguments in (["--dev"], [], ["--role", "files"]):
        async with worker_of(world, *arguments) as worker:
            assert await worker.process.wait() == 2
            assert (worker.out, worker.err) == ("", f'[system] task_queue = "elsewhere": {lives}\n')

    world.edit({"system.task_queue": world.name})
    async with worker_of(world, "--dev") as worker:
        await worker.awake()
        assert (await world.ask("Is it so?")).outcome == "converged"
        assert await worker.stop() == 0


async def test_after_an_image_has_ended_the_next_of_its_name_lives_where_the_file_says(
    world: World,
) -> None:
    await world.update("retire", {}, dict)
    await world.image.result()
    world.edit({"system.task_queue": f"{world.name}-2"})
    async with worker_of(world, "--dev") as worker:
        await worker.awake()
        assert (await world.ask("Is it so?")).outcome == "converged"
        assert await worker.stop() == 0


async def test_another_name_is_another_image_on_any_queue(world: World) -> None:
    world.edit({"system.task_queue": "elsewhere", "system.image_id": f"{world.name}-b"})
    async with worker_of(world, "--dev") as worker:
        await worker.awake()
        assert f"The living image {world.name}-b is awake." in worker.out
        assert (await world.status()).phase == "active"
        assert await worker.stop() == 0
