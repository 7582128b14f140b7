"""A step that is given no time is not interrupted, and none is taken before its workflow task has started."""

import asyncio
import uuid

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Replayer, Worker

from runtime.workflow_runner import PatientRunner

with workflow.unsafe.imports_passed_through():
    from testbed.world import until
    from tests.runtime import stalling
    from tests.runtime.waiting import Waiting


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


async def _waiting(client: Client, seconds: int) -> WorkflowHandle[Waiting, None]:
    """One that waits, and has no worker any more."""
    name = f"waiting-{uuid.uuid4().hex}"
    handle = await client.start_workflow(Waiting.run, seconds, id=name, task_queue=name)
    async with Worker(client, task_queue=name, workflows=[Waiting], workflow_runner=PatientRunner()):
        await until(lambda: _has(handle, EventType.EVENT_TYPE_TIMER_STARTED))
    return handle


async def _has(handle: WorkflowHandle[Waiting, None], kind: EventType.ValueType) -> bool:
    return kind in [event.event_type async for event in handle.fetch_history_events()]


async def test_a_question_that_comes_before_the_task_does_not_move_the_workflow(client: Client) -> None:
    async def asked_before_its_time() -> None:
        handle = await _waiting(client, 3)
        asking = asyncio.create_task(handle.query(Waiting.is_over))
        await until(lambda: _has(handle, EventType.EVENT_TYPE_TIMER_FIRED))
        async with Worker(client, task_queue=handle.id, workflows=[Waiting], workflow_runner=PatientRunner()):
            assert await asking is False
            await handle.result()
        await Replayer(workflows=[Waiting]).replay_workflow(await handle.fetch_history())

    # Which of the two a worker takes first is chance.
    await asyncio.gather(*(asked_before_its_time() for _ in range(8)))


async def test_a_workflow_that_was_terminated_over_news_still_answers(client: Client) -> None:
    handle = await _waiting(client, 3600)
    await handle.signal(Waiting.end)
    await handle.terminate()
    async with Worker(client, task_queue=handle.id, workflows=[Waiting], workflow_runner=PatientRunner()):
        assert await handle.query(Waiting.is_over) is True
