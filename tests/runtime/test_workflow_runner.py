"""A step of a workflow that is given no time is not interrupted, and the workflow goes on."""

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


async def test_a_slow_step_ends_by_itself_and_is_taken_again(client: Client) -> None:
    stalling.ended.clear()
    async with Worker(client, task_queue="stalled", workflows=[Stalled], workflow_runner=PatientRunner()):
        assert await client.execute_workflow(Stalled.run, id="stalled", task_queue="stalled") == "done"
    assert stalling.ended == ["by itself"]
