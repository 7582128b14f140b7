"""The step in which a dialogue recalls: short, local, and never in the way of anything else."""

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.worker import Replayer, Worker

from activities.memory import recall
from connection.codec import data_converter
from connection.places import memory_file
from testbed import model_embeddings
from testbed.fake_ollama import FakeOllama
from testbed.processes import kill
from testbed.world import World, until
from tests.activities.holding import ALONE, WRITING, held
from tests.killing import Killed
from tests.workflows import recalling_slowly
from tests.workflows.image_states import SHIPPED
from tests.workflows.recalling_slowly import Recalling
from workflows.orders import thinking

A_SECOND = timedelta(seconds=1)
FIRST, SECOND = "Should a town plant trees or build shade roofs?", "Should the town plant more trees?"


@pytest.fixture(autouse=True)
def research(ollama: FakeOllama) -> None:
    ollama.script.needs_research = True


async def test_a_recall_is_a_local_activity_with_a_summary(world: World) -> None:
    result = await world.ask(FIRST, task_id="first")
    assert result.recalled_by == "embeddings nomic-embed-text"
    history = await world.client.get_workflow_handle(f"{world.name}/task/first").fetch_history()
    scheduled = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert "recall" not in scheduled
    (marker,) = [
        event
        for event in history.events
        if event.marker_recorded_event_attributes.marker_name == "core_local_activity"
    ]
    assert json.loads(marker.user_metadata.summary.data) == "BABS remembers"


@pytest.mark.parametrize(
    ("statements", "recalled_by"),
    [
        (WRITING, "embeddings nomic-embed-text"),
        (ALONE, "nothing: another program holds the memory of this machine"),
    ],
)
async def test_tasks_go_on_while_another_program_holds_the_memory(
    world: World, statements: tuple[str, ...], recalled_by: str
) -> None:
    await world.ask(FIRST, task_id="first")
    if statements == ALONE:
        await world.stop_workers()
    with held(memory_file(world.state_dir), statements):
        if statements == ALONE:
            await world.start_workers()
        results = await asyncio.gather(*(world.ask(f"{SECOND} {number}") for number in range(4)))
    assert all(result.synthesis for result in results)
    assert all(result.recalled_by.startswith(recalled_by) for result in results)


async def test_a_model_server_that_embeds_slowly_holds_up_no_task(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.ask(FIRST, task_id="first")
    # A quarter of it is for the search by words.
    monkeypatch.setattr(recall, "RECALL_SECONDS", 6.0)
    monkeypatch.setattr(model_embeddings, "SLOW_SECONDS", 60.0)
    world.ollama.script.embedding_faults = {SECOND: "slow"}
    result = await world.ask(SECOND)
    assert result.recalled_by.startswith("shared words (nomic-embed-text was too slow)")


async def test_a_task_that_is_cancelled_while_it_recalls_is_cancelled(world: World) -> None:
    world.ollama.script.embedding_faults = {FIRST: "slow"}
    receipt = await world.submit(FIRST)
    await world.ollama.until(lambda: bool(world.ollama.embeddings))
    dialogue = world.client.get_workflow_handle(receipt.workflow_id)
    await dialogue.cancel()
    with pytest.raises(WorkflowFailureError) as failed:
        await dialogue.result()
    assert isinstance(failed.value.cause, CancelledError)

    async def told() -> bool:
        return (await world.state()).failed_count == 1

    await until(told)


async def test_a_worker_that_is_killed_while_it_recalls_costs_no_task(
    client: Client, ollama: FakeOllama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_embeddings, "SLOW_SECONDS", 60.0)
    image = Killed(client, ollama, tmp_path)
    ollama.script.embedding_faults = {FIRST: "slow"}
    with image.process() as worker:
        await image.start()
        receipt = await image.submit(FIRST)
        await ollama.until(lambda: bool(ollama.embeddings))
        kill(worker)
    with image.process():
        result = await image.result(receipt)
    assert result.synthesis
    # A worker that has just begun again on a busy machine may need its second for something else.
    late = (
        "nothing: the memory took longer than a second",
        "nothing: the memory of this machine took too long",
    )
    assert result.recalled_by.startswith(("shared words (nomic-embed-text was too slow)", *late))


@pytest.mark.parametrize(
    ("memory", "within", "means"),
    [
        (recalling_slowly.stopped, A_SECOND, "nothing: the memory took longer than a second"),
        (recalling_slowly.broken, 60 * A_SECOND, "nothing: ValueError: the memory is not there"),
    ],
)
async def test_what_came_of_a_recall_that_failed_is_the_same_when_it_is_replayed(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    memory: Callable[..., Any],
    within: timedelta,
    means: str,
) -> None:
    """A history has only the failure of a local activity, not that it was an activity's."""
    monkeypatch.setattr(thinking, "RECALL_WITHIN", within)
    name = f"recalling-{uuid.uuid4().hex}"
    worker = Worker(
        client, task_queue=name, workflows=[Recalling], activities=[memory], max_cached_workflows=0
    )
    async with worker:
        recalling = await client.start_workflow(Recalling.run, SHIPPED, id=name, task_queue=name)
        assert await recalling.result() == means
    history = await recalling.fetch_history()
    await Replayer(workflows=[Recalling], data_converter=data_converter()).replay_workflow(history)
