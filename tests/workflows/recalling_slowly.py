"""A workflow that recalls once, and memories that keep nobody's time."""

import asyncio
from datetime import UTC, datetime

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from configuration import Settings
    from messages.tasks import Task
    from workflows.recalling import recall


@workflow.defn
class Recalling:
    @workflow.run
    async def run(self, settings: Settings) -> str:
        task = Task(task_id="one", task="What was it?", submitted_at=datetime(2026, 1, 1, tzinfo=UTC))
        recalled = await recall(settings, "image", task, 3)
        await workflow.sleep(0.01)  # so that what came of it is needed once more
        return recalled.means


@activity.defn(name="recall")
async def stopped(_: object) -> None:
    """A worker that stands still, as on a machine that sleeps."""
    await asyncio.sleep(60)


@activity.defn(name="recall")
async def broken(_: object) -> None:
    raise ValueError("the memory is not there")
