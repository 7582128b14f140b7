"""Who reaches the server may give the orders that a loop gives. They do not get at the file."""

import json
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Worker

from messages.names import files_queue
from testbed.fake_ollama import FakeOllama
from testbed.signing import Signer, governed
from testbed.world import World

ADA, BOB = Signer("Ada"), Signer("Bob")
TURNS = "autopoiesis.max_turns"


@workflow.defn(sandboxed=False)
class Strangers:
    """A workflow that is none of ours."""

    @workflow.run
    async def run(self, queue: str, order: dict[str, Any]) -> Any:
        return await workflow.execute_activity(
            "rewrite_settings",
            order,
            task_queue=queue,
            schedule_to_close_timeout=timedelta(seconds=60),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


@pytest.fixture
async def image(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[World]:
    """Ada and Bob decide together."""
    async with governed(client, ollama, tmp_path, 2, ADA, BOB) as world:
        yield world


async def refused(world: World, order: dict[str, Any]) -> str:
    """Why a stranger's order was refused; the file is as before."""
    before = world.file.read_bytes()
    queue = f"strangers-{uuid.uuid4().hex[:8]}"
    async with Worker(world.client, task_queue=queue, workflows=[Strangers]):
        with pytest.raises(WorkflowFailureError) as error:
            await world.client.execute_workflow(
                Strangers.run, args=[files_queue(world.name), order], id=queue, task_queue=queue
            )
    assert world.file.read_bytes() == before
    assert isinstance(error.value.cause, ActivityError)
    cause = error.value.cause.cause
    assert isinstance(cause, ApplicationError)
    assert cause.non_retryable
    return cause.message


async def approved(world: World) -> dict[str, Any]:
    """The order of a loop that Ada and Bob have signed, as it stands in its history."""
    view = await world.pending_proposal()
    for person in (ADA, BOB):
        await world.loop(view.loop_id).execute_update("decide", person.decision(view))
    scheduled = [
        event.activity_task_scheduled_event_attributes
        async for event in world.loop(view.loop_id).fetch_history_events()
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    order: dict[str, Any] = json.loads(scheduled[-1].input.payloads[0].data)
    return order


async def test_an_order_without_signatures_is_refused(image: World) -> None:
    change = {"key": TURNS, "old": 2, "new": 9}
    approve = {"verdict": "approve", "approver": "Ada"}
    loop_id = f"{image.name}/loop/1"
    order = {"loop_id": loop_id, "changes": [change], "decision": approve}
    told = await refused(image, order)
    assert told == (
        f"{loop_id} was refused: it takes a signature of 2 of Ada, Bob, and it is not signed; nothing was "
        "written, and `python starter.py reflect` has it proposed anew"
    )
    assert "no backup" in await refused(image, {"loop_id": "mine", "changes": [change], "by_person": True})
    take_over = {"key": "models.host", "old": image.on_file().models.host, "new": "http://198.51.100.1"}
    assert "no backup" in await refused(image, {"loop_id": "mine", "changes": [take_over], "by_person": True})


async def test_what_was_signed_once_is_not_good_for_anything_else(image: World) -> None:
    order = await approved(image)
    await image.loops_concluded()
    image.edit({TURNS: 2})
    change = {**order["changes"][0], "new": 9}
    assert "what it changes is not what was approved" in await refused(image, {**order, "changes": [change]})
    proposed = {**order["approval"], "proposed": [change]}
    assert "is not over this" in await refused(image, {**order, "changes": [change], "approval": proposed})
    one = {**order["approval"], "signatures": order["approval"]["signatures"][:1]}
    assert "1 of 2 have signed it" in await refused(image, {**order, "approval": one})
    assert "is not over this" in await refused(image, {**order, "loop_id": f"{image.name}/loop/2"})


async def test_a_key_that_is_lost_while_a_proposal_waits_ends_the_loop(image: World) -> None:
    view = await image.pending_proposal()
    await image.loop(view.loop_id).execute_update("decide", ADA.decision(view))
    image.file.write_text(image.file.read_text().replace(ADA.line, Signer("Cy").line))
    concluded = await image.loop(view.loop_id).execute_update("decide", BOB.decision(view))
    assert concluded["state"] == "failed"
    assert "it takes a signature of 2 of Cy, Bob, and 1 of 2 have signed it" in concluded["reason"]
    assert image.on_file().autopoiesis.max_turns == 2


async def test_a_revert_brings_back_what_was_approved_before(image: World) -> None:
    await approved(image)
    await image.loops_concluded()
    await image.image.execute_update("revert_settings", {"revision": 1, "approver": "Ada"})
    assert image.on_file().autopoiesis.max_turns == 2
