"""Writes a snapshot that every later version has to restore: `python -m tests.record_snapshot FILE`.

Those under tests/snapshots are kept as they are, whatever is recorded later.
"""

import asyncio
import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from messages.files import SnapshotReceipt
from messages.image import ImageStatus
from testbed.fake_ollama import FakeOllama
from tests.recorder import Recorder
from tests.workflows.servers import server_with_movable_clocks


async def record(file: Path) -> None:
    """An image that has argued, remembered, been amended and left something undone."""
    with TemporaryDirectory() as folder:
        async with await server_with_movable_clocks() as server, FakeOllama() as ollama:
            os.environ["OLLAMA_HOST"] = ollama.url
            async with Recorder(server.client, ollama, Path(folder), "recorded", {}) as image:
                await image.ask("Should a town plant trees or build shade roofs?", task_id="trees")
                await image.record_reasons()
                await image.decide(await image.reflect(), "approve", comment="more room")
                await image.quiet()
                await image.update("pause", None, ImageStatus)
                await image.submit("What waits?", task_id="waits")
                receipt = await image.update("save_image", None, SnapshotReceipt)
                await asyncio.to_thread(shutil.copy, receipt.path, file)


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1])))
