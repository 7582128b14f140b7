"""A worker that comes back to events and to a question that has waited for it: the image stays replayable."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from testbed.fake_ollama import FakeOllama
from testbed.world import Image, until
from tests.killing import asking_again
from tests.runtime.worker_process import WorkerProcess
from tests.workflows.replayed import replay
from workflows.living_image import LivingImage

IDLE_SECONDS = 10
"""Its timer has to ring after the worker was killed, however long a busy machine takes for that."""


@pytest.mark.parametrize(
    ("more", "in_vain"),
    [(False, False), (True, False), (True, True)],
    ids=["alone", "and a task", "and a task, after tasks without commands"],
)
async def test_a_question_that_waited_for_the_worker_leaves_a_history_that_replays(
    client: Client, ollama: FakeOllama, tmp_path: Path, more: bool, in_vain: bool
) -> None:
    image = Image(asking_again(client), ollama.url, tmp_path, {"motivator.idle_after": f"{IDLE_SECONDS}s"})
    await image.start()
    where: Any = {"TEMPORAL_ADDRESS": image.address}
    async with WorkerProcess(tmp_path, **where) as worker:
        await worker.awake()
        await image.ask("What is a question?")
        await until(lambda: _timers(image, "EVENT_TYPE_TIMER_STARTED"))
        rung = await _timers(image, "EVENT_TYPE_TIMER_FIRED")
        for _ in range(2 if in_vain else 0):
            await image.image.signal("of_no_use")
            await image.status()
        await worker.stop(signal.SIGKILL)
        # It waits at the server, which does not yet know of any work for the workflow: so it comes first.
        asked = asyncio.create_task(image.status())
        await asyncio.sleep(0.3)
        given = asyncio.create_task(image.submit("And what is an answer?")) if more else None

        async def rings() -> bool:
            return await _timers(image, "EVENT_TYPE_TIMER_FIRED") > rung

        await until(rings)
    async with WorkerProcess(tmp_path, **where) as worker:
        await worker.awake()
        assert (await asked).finished == 1
        if given:
            await given

        async def acted() -> bool:
            status = await image.status()
            return status.finished == 1 + more and status.saved_generation > 0

        await until(acted)  # it was idle when the timer rang, and saves itself then
    await replay(await image.image.fetch_history(), [LivingImage])
    async with WorkerProcess(tmp_path, **where) as worker:
        await worker.awake()
        assert (await image.status()).finished == 1 + more


async def _timers(image: Image, kind: str) -> int:
    history = await image.image.fetch_history()
    return sum(event.event_type == EventType.Value(kind) for event in history.events)
