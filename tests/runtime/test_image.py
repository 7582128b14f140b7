"""An image whose server has lost it is not lost."""

import shutil
from pathlib import Path

from connection.server import connect
from testbed.fake_ollama import FakeOllama
from tests.desk.command_line import Starter
from tests.runtime.worker_process import WorkerProcess, argue, dev_ports, status


async def test_a_lost_state_folder_is_no_lost_image_and_the_banner_says_how_to_bring_it_back(
    tmp_path: Path, ollama: FakeOllama
) -> None:
    ports = dev_ports()
    async with WorkerProcess(tmp_path, *ports, OLLAMA_HOST=ollama.url) as worker:
        await worker.awake()
        assert "restore" not in worker.out
        assert await argue(await connect(worker.server.address), "Trees or roofs?") == "converged"
        saved = await Starter(tmp_path, worker.server.address)("snapshot", "--json")
        assert await worker.stop() == 0
    shutil.rmtree(tmp_path / ".state")

    async with WorkerProcess(tmp_path, *ports, OLLAMA_HOST=ollama.url) as worker:
        await worker.awake()
        client = await connect(worker.server.address)
        assert (await status(client)).finished == 0
        offered = next(line for line in worker.out.splitlines() if "starter.py restore" in line)
        assert offered.endswith("restore snapshots/living-image.00000001.image")
        starter = Starter(tmp_path, worker.server.address)
        assert saved.json["path"] == str(tmp_path / offered.split()[-1])
        assert (await starter("restore", offered.split()[-1], "--yes")).code == 0
        assert (await status(client)).finished == 1
        found = await starter("memory", "search", "trees or roofs", "--json")
        assert [item["task"] for item in found.json["items"]] == ["Trees or roofs?"]
        assert await argue(client, "And hedges?") == "converged"
