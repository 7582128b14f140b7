"""An argument is told as it goes on: who speaks, the words as they come, each of them once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from openai import APIError, InternalServerError

from door.image import Image, Looking
from door.watching import Watches
from messages.image import ImageStatus
from tests.door.conftest import Doorstep, opened
from tests.door.test_completions import ask, told

SHADE = "Trees give shade for sixty years."


class Stream:
    """A streamed answer, as OpenAI's client has it."""

    def __init__(self, doorstep: Doorstep, said: str, **more: Any) -> None:
        self._asked = ask(doorstep, said, stream=True, stream_options={"include_usage": True}, **more)
        self._chunks: AsyncIterator[Any] | None = None
        self.deltas: list[tuple[str, str]] = []
        self.last: Any = None
        self.usage: Any = None

    def said(self, field: str = "reasoning_content") -> str:
        return "".join(text for of, text in self.deltas if of == field)

    async def until(self, *words: str, field: str = "reasoning_content") -> None:
        """Read on until all these words were told; without any, to the end."""
        if self._chunks is None:
            stream: Any = await self._asked
            self._chunks = aiter(stream)
            self._close = stream.close
        while not words or not all(word in self.said(field) for word in words):
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                assert not words, self.said()
                return
            if not chunk.choices:
                self.usage = chunk.usage
                continue
            [choice] = chunk.choices
            if choice.finish_reason:
                self.last = chunk
            for of in ("reasoning_content", "content"):
                if text := getattr(choice.delta, of, None):
                    self.deltas.append((of, text))

    async def close(self) -> None:
        await self._close()


async def test_words_come_before_they_are_complete_and_the_synthesis_after_all_reasoning(
    doorstep: Doorstep,
) -> None:
    doorstep.ollama.script.says = {"text": SHADE}
    doorstep.ollama.ending.clear()
    stream = Stream(doorstep, "Trees or roofs?")
    await stream.until("ALFRED plans:", "Turn 1, BRICK:", SHADE)
    assert "ROBIN" not in stream.said()
    doorstep.ollama.ending.set()
    await stream.until()
    fields = [field for field, _ in stream.deltas]
    assert fields == sorted(fields, reverse=True)
    assert stream.said().count(SHADE) == 2
    assert stream.said("content") == SHADE
    assert stream.last.choices[0].finish_reason == "stop"
    assert stream.last.model_extra["living_image"]["outcome"] == "converged"

    whole = await ask(doorstep, "Trees or roofs?")
    assert told(whole) == stream.last.model_extra["living_image"]
    assert (whole.choices[0].message.model_extra or {})["reasoning_content"] == stream.said()
    assert whole.usage == stream.usage


async def test_the_synthesis_comes_word_by_word_too(doorstep: Doorstep) -> None:
    stream = Stream(doorstep, "Which words?")
    doorstep.ollama.script.says = {"text": "A word " * 400 + "and the last."}
    await stream.until()
    assert stream.said("content") == "A word " * 400 + "and the last."
    assert stream.said().count("and the last.") == 2


async def test_who_drops_out_comes_back_to_the_same_argument(doorstep: Doorstep) -> None:
    doorstep.ollama.script.says = {"text": SHADE}
    doorstep.ollama.ending.clear()
    stream = Stream(doorstep, "Who drops out?")
    await stream.until("BRICK:", SHADE)
    calls = len(doorstep.ollama.calls)
    await stream.close()
    again = Stream(doorstep, "Who drops out?")
    await again.until("BRICK:", SHADE)
    assert len(doorstep.ollama.calls) == calls
    doorstep.ollama.ending.set()
    await again.until()
    assert again.said().count(SHADE) == 2
    ids = [view.task for view in (await doorstep.world.state()).task_views()]
    assert ids.count("Who drops out?") == 1


async def test_a_task_that_waits_says_so_and_the_line_is_kept_alive(doorstep: Doorstep) -> None:
    await doorstep.world.update("pause", None, ImageStatus)
    await doorstep.world.submit("An earlier one?")
    body = {"model": doorstep.image, "messages": [{"role": "user", "content": "Later?"}], "stream": True}
    async with (
        httpx.AsyncClient(base_url=doorstep.url, timeout=60) as http,
        http.stream("POST", "/chat/completions", json=body) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        first = await _next(lines, "data:")
        assert json.loads(first[6:])["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        await _reasoned(lines, "waits in the queue, place 2", "is paused")
        await _next(lines, ": ping")
        await doorstep.world.update("resume", None, ImageStatus)
        rest = [line async for line in lines if line.startswith("data:")]
    assert rest[-1] == "data: [DONE]"
    last = json.loads(rest[-2][6:])
    assert last["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in last


async def _next(lines: AsyncIterator[str], start: str) -> str:
    """Read on to the next line that begins so."""
    while not (line := await anext(lines)).startswith(start):
        pass
    return line


async def _reasoned(lines: AsyncIterator[str], *words: str) -> None:
    """Read on until all these words were told."""
    said = ""
    while not all(each in said for each in words):
        line = await _next(lines, "data:")
        said += json.loads(line[6:])["choices"][0]["delta"]["reasoning_content"]


async def test_a_failure_is_the_last_that_comes(doorstep: Doorstep) -> None:
    doorstep.ollama.script.models = []
    stream = Stream(doorstep, "Will it fail?")
    with pytest.raises(APIError, match="ollama pull") as failed:
        await stream.until()
    assert failed.value.code == "ModelNotPulled"
    assert stream.last is None


async def test_a_plain_answer_streams_too(doorstep: Doorstep) -> None:
    doorstep.ollama.script.says = {"text": SHADE}
    doorstep.ollama.ending.clear()
    stream = Stream(doorstep, "Shade?", model=f"{doorstep.image}-plain")
    await stream.until(SHADE, field="content")
    doorstep.ollama.ending.set()
    await stream.until()
    assert stream.deltas[0][0] == "content"
    assert stream.said("content") == SHADE
    assert stream.said() == ""
    assert stream.usage.completion_tokens > 0


async def test_a_plain_answer_that_nobody_waits_for_is_given_up(doorstep: Doorstep) -> None:
    doorstep.ollama.script.says = {"text": SHADE}
    doorstep.ollama.ending.clear()
    stream = Stream(doorstep, "Gone?", model=f"{doorstep.image}-plain")
    await stream.until(SHADE, field="content")
    await stream.close()
    call = doorstep.ollama.calls[-1]
    await doorstep.ollama.until(lambda: call.outcome == "abandoned")


async def test_a_door_that_closes_tells_all_who_wait(doorstep: Doorstep) -> None:
    doorstep.ollama.answering.clear()
    async with AsyncExitStack() as stack:
        door = await stack.enter_async_context(opened(doorstep.world))
        knocker = Doorstep(doorstep.world, door.url)
        stream = Stream(knocker, "Who waits?")
        await stream.until("Task chat-")
        calls = len(doorstep.ollama.calls)
        whole = [
            asyncio.create_task(ask(knocker, "Who waits?")),
            asyncio.create_task(ask(knocker, "Who waits?", model=f"{doorstep.image}-plain")),
        ]
        # The argument's own call may come as late as this.
        await doorstep.ollama.until(lambda: "text" in {call.asks for call in doorstep.ollama.calls[calls:]})
        closing = asyncio.create_task(stack.aclose())
        with pytest.raises(APIError) as ended:
            await stream.until()
        assert ended.value.code == "closing"
        for each in whole:
            with pytest.raises(InternalServerError, match="ask the same again") as refused:
                await each
            assert refused.value.status_code == 503
        await closing
        await knocker.openai.close()
    doorstep.ollama.answering.set()
    assert (await ask(doorstep, "Who waits?")).choices[0].message.content


async def test_all_who_wait_for_a_task_share_its_looks(doorstep: Doorstep) -> None:
    image = Image(doorstep.world.client, doorstep.image)
    watches = Watches(lambda task_id: Looking(image, task_id).look)
    task_id = await image.hand_in("shared", "Who looks?")
    with watches.of(task_id) as one, watches.of(task_id) as other, watches.of("else") as third:
        assert one is other
        assert one is not third
        views = [[view async for view in watch.views()] for watch in (one, other)]
    for seen in views:
        assert seen[-1].result
    with watches.of(task_id) as later:
        assert later is not one
