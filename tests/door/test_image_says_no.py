"""What the image refuses, the door refuses with the status that clients go by."""

import httpx
import pytest
from openai import APIStatusError

from messages.common import TASK_BYTES
from messages.image import ImageStatus
from tests.door.conftest import Doorstep, opened
from tests.door.test_completions import ask, told
from tests.door.test_streams import Stream


async def refusal(doorstep: Doorstep, said: str, model: str | None = None) -> tuple[int, object]:
    with pytest.raises(APIStatusError) as refused:
        await ask(doorstep, said, model=model or doorstep.image)
    return refused.value.status_code, refused.value.code


async def test_a_full_queue_is_a_429_and_what_stands_in_it_may_be_asked_for(doorstep: Doorstep) -> None:
    await doorstep.world.update("pause", None, ImageStatus)
    waiting = Stream(doorstep, "The first of all?")
    await waiting.until("waits in the queue, place 1")
    for number in range(4):
        await doorstep.world.submit(f"{number} " + "x" * (TASK_BYTES - 2))
    assert await refusal(doorstep, "y" * TASK_BYTES) == (429, "queue_full")
    again = Stream(doorstep, "The first of all?")
    await again.until("waits in the queue, place 1")
    await doorstep.world.update("resume", None, ImageStatus)
    await again.until()
    await waiting.until()
    assert told(await ask(doorstep, "The first of all?")) == again.last.model_extra["living_image"]
    await doorstep.world.tasks_finished()


async def test_where_no_image_lives_nobody_answers(doorstep: Doorstep) -> None:
    async with opened(doorstep.world, "nobody") as empty:
        assert await refusal(empty, "Hello?", "nobody") == (503, "image_unreachable")
        assert await refusal(empty, "Hello?", "nobody-plain") == (503, "image_unreachable")


async def test_a_retired_image_takes_no_tasks_and_keeps_its_answers(doorstep: Doorstep) -> None:
    answer = await ask(doorstep, "An answer to keep?")
    doorstep.ollama.answering.clear()
    running = Stream(doorstep, "The last one?")
    await running.until("is argued out")
    await doorstep.world.update("retire", None, ImageStatus)
    assert await refusal(doorstep, "One more?") == (409, "image_refused")
    doorstep.ollama.answering.set()
    await running.until()
    assert running.said("content")
    await doorstep.world.image.result()
    assert await refusal(doorstep, "One more?") == (410, "image_retired")
    assert told(await ask(doorstep, "An answer to keep?")) == told(answer)
    async with httpx.AsyncClient(base_url=doorstep.url, timeout=60) as http:
        assert (await http.get("/models")).status_code == 200
