"""A worker that watches its own event loop: `python -m benchmarks.watched SETTINGS ADDRESS`.

For each line on its standard input it prints the longest stall, in seconds, since the line before.
"""

import asyncio
import sys
import time
from pathlib import Path

from activities.model_server.backend import ModelBackend
from configuration.reading import load_settings
from connection.logs import configure_logs
from connection.places import STATE_DIR
from connection.server import connect
from runtime.model_backend import RunningModel
from runtime.workers import running_workers

TICK_SECONDS = 0.002


class Watch:
    """The longest time, in seconds, for which the event loop came to nothing else."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.perf_counter()
            self.longest = max(self.longest, now - last - TICK_SECONDS)
            last = now

    def report(self) -> None:
        if not sys.stdin.readline():
            asyncio.get_running_loop().remove_reader(sys.stdin)
            return
        print(self.longest, flush=True)
        self.longest = 0.0


async def main(settings: Path, address: str) -> None:
    """Host an image's workflows, personas, memory and files, as worker.py does, until killed."""
    configure_logs()
    watch = Watch()
    client = await connect(address)
    queue = load_settings(settings).system.task_queue
    state_dir = settings.parent / STATE_DIR
    async with running_workers(
        client, queue, model=RunningModel(ModelBackend()), settings=settings, state_dir=state_dir
    ):
        asyncio.get_running_loop().add_reader(sys.stdin, watch.report)
        await watch.run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
