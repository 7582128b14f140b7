"""A step of a workflow that is given no time is not interrupted, and the workflow goes on."""

import asyncio

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

from runtime.workflow_runner import PatientRunner

with workflow.unsafe.imports_passed_through():
    from tests.runtime import stalling


@workflow.defn
class Stalled:
    @workflow.run
    async def run(self) -> str:
        stalling.stall()
        return "done"


@workflow.defn
class StalledAmongOthers:
    @workflow.run
    async def run(self) -> str:
        others = [asyncio.create_task(workflow.sleep(3600)) for _ in range(3)]
        await workflow.sleep(0.01)
        stalling.stall()
        workflow.set_current_details("It goes on.")
        for other in others:
            other.cancel()
        return "done"


async def test_a_workflow_is_not_put_away_in_the_middle_of_a_step(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    stalling.ended.clear()
    async with Worker(
        client, task_queue="among", workflows=[StalledAmongOthers], workflow_runner=PatientRunner()
    ):
        running = client.execute_workflow(StalledAmongOthers.run, id="among", task_queue="among")
        assert await running == "done"
    assert stalling.ended == ["by itself"]
    assert "Failed running eviction" not in caplog.text


async def test_a_slow_step_ends_by_itself_and_is_taken_again(client: Client) -> None:
    stalling.ended.clear()
    async with Worker(client, task_queue="stalled", workflows=[Stalled], workflow_runner=PatientRunner()):
        assert await client.execute_workflow(Stalled.run, id="stalled", task_queue="stalled") == "done"
    assert stalling.ended == ["by itself"]
