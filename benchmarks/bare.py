"""The baselines on bare Temporal: the same model calls, an entity that takes updates, a file written."""

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity, workflow
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from ollama import AsyncClient

    from connection.server import connect

TASK_QUEUE, FILES_QUEUE = "bare", "bare-files"
CALLS = 6
FILE = "bare.toml"
WITHIN = timedelta(minutes=1)


class Bare:
    def __init__(self, host: str, folder: Path) -> None:
        self._client = AsyncClient(host)
        self._file = folder / FILE

    @activity.defn
    async def call(self, question: str) -> str:
        answer = await self._client.chat("bare", [{"role": "user", "content": question}])
        return answer.message.content or ""

    @activity.defn
    async def write(self, text: str) -> None:
        await asyncio.to_thread(self._write, text)

    def _write(self, text: str) -> None:
        """Written, synced and put in its place, as anybody would who does not want half a file there."""
        new = self._file.with_suffix(".new")
        with new.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)


@workflow.defn
class BareTask:
    """A task: so many model calls, one activity each, and nothing else."""

    @workflow.run
    async def run(self, question: str) -> str:
        for _ in range(CALLS):
            question = await workflow.execute_activity_method(
                Bare.call, question, start_to_close_timeout=WITHIN
            )
        return question


@workflow.defn
class BareEntity:
    """An entity that takes updates for ever and remembers nothing of them."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def submit_task(self, message: Any = None) -> dict[str, Any]:
        return {"accepted": True}

    @workflow.update
    async def decide(self, text: str) -> None:
        """Write it where the entity's own worker is."""
        await workflow.execute_activity_method(Bare.write, text, start_to_close_timeout=WITHIN)

    @workflow.update
    async def decide_elsewhere(self, text: str) -> None:
        """Write it where the file is: the worker there has a task queue of its own, as an image's has."""
        await workflow.execute_activity_method(
            Bare.write, text, start_to_close_timeout=WITHIN, task_queue=FILES_QUEUE
        )


async def main(address: str, host: str, folder: str) -> None:
    """Host the baselines until killed."""
    client = await connect(address)
    bare = Bare(host, Path(folder))
    activities = [bare.call, bare.write]
    async with (
        Worker(client, task_queue=TASK_QUEUE, workflows=[BareTask, BareEntity], activities=activities),
        Worker(client, task_queue=FILES_QUEUE, activities=[bare.write]),
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
