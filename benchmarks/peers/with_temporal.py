"""Bare Temporal: workflows with an activity for each call, and an update for a person's word.

    python -m benchmarks.peers.with_temporal FOLDER MODEL_SERVER TEMPORAL_SERVER

What it has begun, the server gives to whichever worker is there.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from benchmarks.peers.work import STEPS, Change, Model, Orders, carry_out, proposed, serve

QUEUE = "peer"
WITHIN = timedelta(seconds=10)
"""How long a call may take, and so after how long a killed worker's is given to another."""


class Activities:
    def __init__(self, model: Model, file: Path) -> None:
        self._model = model
        self._file = file

    @activity.defn
    async def ask(self, step: str, said: dict[str, str]) -> str:
        return await self._model.ask(step, said)

    @activity.defn
    def propose(self) -> Change:
        return proposed(self._file)

    @activity.defn
    def write(self, change: Change) -> None:
        carry_out(self._file, change)


@workflow.defn
class Argue:
    @workflow.run
    async def run(self, task: str) -> str:
        said = {"task": task}
        for step in STEPS:
            said[step] = await workflow.execute_activity_method(
                Activities.ask, args=[step, said], start_to_close_timeout=WITHIN
            )
        return said["synthesis"]


@workflow.defn
class Amend:
    def __init__(self) -> None:
        self._approved = self._waits = self._written = False

    @workflow.run
    async def run(self) -> None:
        change = await workflow.execute_activity_method(Activities.propose, start_to_close_timeout=WITHIN)
        self._waits = True
        await workflow.wait_condition(lambda: self._approved)
        await workflow.execute_activity_method(Activities.write, change, start_to_close_timeout=WITHIN)
        self._written = True
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.update
    async def shown(self) -> None:
        await workflow.wait_condition(lambda: self._waits)

    @workflow.update
    async def approve(self) -> None:
        self._approved = True
        await workflow.wait_condition(lambda: self._written)


async def main(folder: str, host: str, address: str) -> None:
    client = await Client.connect(address)

    async def propose(name: str) -> None:
        handle = await client.start_workflow(Amend.run, id=name, task_queue=QUEUE)
        await handle.execute_update(Amend.shown)

    async def unfinished() -> AsyncIterator[tuple[str, Awaitable[object]]]:
        # Some of them may be over by now.
        async for found in client.list_workflows("WorkflowType='Argue'"):
            yield found.id, client.get_workflow_handle(found.id).result()

    own = Activities(Model(host), Path(folder) / "settings.toml")
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[Argue, Amend],
        activities=[own.ask, own.propose, own.write],
        activity_executor=ThreadPoolExecutor(4),
    ):
        await serve(
            Orders(
                argue=lambda name: client.execute_workflow(Argue.run, name, id=name, task_queue=QUEUE),
                propose=propose,
                approve=lambda name: client.get_workflow_handle(name).execute_update(Amend.approve),
                unfinished=unfinished(),
            )
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
