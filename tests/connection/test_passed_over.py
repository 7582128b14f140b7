"""An update that reached a worker which did not mention it: the server refuses it, and nobody else has."""

import asyncio
from pathlib import Path

from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollWorkflowTaskQueueRequest,
    RespondWorkflowTaskCompletedRequest,
)
from temporalio.client import Client

from connection.plain_words import Addressee
from connection.problems import Unknown
from connection.talking import Line
from messages.requests import SubmitTask
from messages.tasks import TaskReceipt
from runtime.settings_watcher import SettingsWatcher
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until


async def pass_over(world: World) -> None:
    """Take one workflow task of the image as a worker does, and complete it without a word on its update."""
    service = world.client.workflow_service
    queue = TaskQueue(name=world.name)
    taken = await service.poll_workflow_task_queue(
        PollWorkflowTaskQueueRequest(namespace=world.client.namespace, task_queue=queue, identity="deaf")
    )
    assert taken.messages
    await service.respond_workflow_task_completed(
        RespondWorkflowTaskCompletedRequest(
            namespace=world.client.namespace, task_token=taken.task_token, identity="deaf"
        )
    )


async def test_an_update_that_was_passed_over_is_sent_again(world: World) -> None:
    await world.status()  # its first workflow task is done
    await world.stop_workers()
    line = Line(world.client, world.image, Addressee("the image", Unknown("")))
    request = SubmitTask(task="Do you hear me?", task_id="heard")
    telling = asyncio.create_task(line.tell("submit_task", request, TaskReceipt))
    await pass_over(world)
    await world.start_workers()
    assert (await telling).task_id == "heard"


async def test_a_save_that_the_image_was_not_told_of_is_told_again(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with World(client, ollama, tmp_path) as world:
        await world.status()  # its first workflow task is done
        await world.stop_workers()
        world.edit({"autopoiesis.max_turns": 3})
        watching = asyncio.create_task(SettingsWatcher(client, world.name, world.file).run())
        await pass_over(world)
        await world.start_workers()

        async def adopted() -> bool:
            return (await world.status()).revision == 2

        await until(adopted)
        watching.cancel()
