"""A chat with the image is a task: argued out once, however often it is asked for, and seen by the plan."""

import asyncio
from typing import Any

import httpx
import pytest
from openai import APIStatusError
from openai.types.chat import ChatCompletion

from messages.common import TASK_BYTES
from testbed.model_script import Script
from tests.door.conftest import Doorstep

# How Open WebUI's own prompts begin: for a title, and to put documents before a question.
TITLE = "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n### ..."
DOCUMENTS = (
    "### Task:\nRespond to the user query using the provided context, incorporating inline citations..."
)


async def ask(doorstep: Doorstep, *said: tuple[str, Any] | str, **more: Any) -> ChatCompletion:
    """The answer to messages of a user, or of (role, content)."""
    pairs = [("user", each) if isinstance(each, str) else each for each in said]
    messages: Any = [{"role": role, "content": content} for role, content in pairs]
    more.setdefault("model", doorstep.image)
    answer: ChatCompletion = await doorstep.openai.chat.completions.create(messages=messages, **more)
    return answer


def told(answer: ChatCompletion) -> dict[str, Any]:
    """The field of our own."""
    assert answer.model_extra
    return dict(answer.model_extra["living_image"])


def planned(doorstep: Doorstep) -> list[str]:
    """What ALFRED was told to plan for."""
    return [call.user for call in doorstep.ollama.calls if call.asks == "plan"]


async def test_the_image_and_its_plain_model_are_listed(doorstep: Doorstep) -> None:
    models = [model async for model in doorstep.openai.models.list()]
    assert [model.id for model in models] == [doorstep.image, f"{doorstep.image}-plain"]
    assert await doorstep.openai.models.retrieve(doorstep.image) == models[0]


async def test_a_chat_is_a_task_with_its_argument_as_reasoning(doorstep: Doorstep) -> None:
    answer = await ask(doorstep, "Trees or roofs?")
    [choice] = answer.choices
    result = await doorstep.world.image.query("tasks")
    [task] = [view for view in result if view["task"] == "Trees or roofs?"]
    assert (task["task_id"], task["origin"]) == (told(answer)["task_id"], "person")
    assert told(answer) == {
        "task_id": task["task_id"],
        "outcome": "converged",
        "dissonance": [0.3],
        "revision": 1,
        "model_backend": "ollama qwen2.5:7b",
    }
    assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
    assert choice.message.content
    reasoning = (choice.message.model_extra or {})["reasoning_content"]
    places = [
        reasoning.index(word) for word in ("ALFRED plans:", "BRICK:", "ROBIN:", "0.3 (partly_different)")
    ]
    assert places == sorted(places)
    [log] = [log for log in (await doorstep.world.state()).window if log.task_id == task["task_id"]]
    assert answer.usage and (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
        log.tokens_in,
        log.tokens_out,
    )
    assert answer.usage.total_tokens == log.tokens_in + log.tokens_out > 0


async def test_the_same_asked_again_is_the_same_task(doorstep: Doorstep) -> None:
    first, again, both = await asyncio.gather(*(ask(doorstep, "Once or twice?") for _ in range(3)))
    later = await ask(doorstep, "Once or twice?")
    assert told(first) == told(again) == told(both) == told(later)
    assert later.choices == first.choices
    assert len([user for user in planned(doorstep) if "Once or twice?" in user]) == 1
    other = await ask(doorstep, "Once or twice?", extra_headers={"X-OpenWebUI-Chat-Id": "another chat"})
    assert told(other)["task_id"] != told(first)["task_id"]


async def test_a_front_end_names_what_it_asks(doorstep: Doorstep) -> None:
    open_webui = {"X-OpenWebUI-Chat-Id": "c", "X-OpenWebUI-Message-Id": "m", "X-OpenWebUI-Task": ""}
    # An Open WebUI that does not know a name leaves it as it is.
    unfilled = {"X-OpenWebUI-Message-Id": "{{MESSAGE_ID}}", "X-OpenWebUI-Task": "{{TASK}}"}
    asked: list[tuple[str, dict[str, str]]] = [
        ("Now?", open_webui),
        ("Now, at ten?", open_webui),
        ("Now?", open_webui | {"X-OpenWebUI-Message-Id": "n"}),
        ("A?", {"Idempotency-Key": "k"}),
        ("B?", {"Idempotency-Key": "k"}),
        ("A?", unfilled),
        ("B?", unfilled),
    ]
    answers = await asyncio.gather(*(ask(doorstep, said, extra_headers=names) for said, names in asked))
    first, *others = [told(answer)["task_id"] for answer in answers]
    assert others[0] == first
    assert others[2] == others[3]
    assert len({first, *others}) == 5


async def test_what_was_said_before_reaches_the_plan(doorstep: Doorstep) -> None:
    parts = [{"type": "text", "text": "And in winter,"}, {"type": "text", "text": "who clears them?"}]
    await ask(
        doorstep,
        ("system", "Answer for a small town."),
        "Trees or roofs?",
        ("assistant", "Trees, for their shade."),
        ("user", parts),
    )
    [asked] = [user for user in planned(doorstep) if "who clears them?" in user]
    said = ["Answer for a small town.", "Trees or roofs?", "Trees, for their shade.", "And in winter,"]
    places = [asked.index(words) for words in said]
    assert places == sorted(places)
    assert "<assistant>\nTrees, for their shade.\n</assistant>" in asked
    assert "left out" not in asked


async def test_the_oldest_messages_are_left_out_of_a_long_chat_and_the_plan_is_told(
    doorstep: Doorstep,
) -> None:
    turns = [f"Round {number}: " + "words " * 200 for number in range(10)]
    await ask(doorstep, ("system", "Be brief."), *turns, "And the end of it?")
    [asked] = [user for user in planned(doorstep) if "And the end of it?" in user]
    assert "Be brief." in asked
    assert "Round 9" in asked
    assert "Round 3" not in asked
    assert "4 earlier messages" in asked
    with pytest.raises(APIStatusError) as refused:
        await ask(doorstep, "x" * (TASK_BYTES + 1))
    assert (refused.value.status_code, refused.value.code) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("said", "headers"),
    [
        (TITLE, {}),
        ("Name this chat.", {"X-OpenWebUI-Task": "title_generation"}),
        ("Name this chat.", None),
    ],
)
async def test_what_front_ends_ask_on_the_side_is_one_plain_call_and_no_task(
    doorstep: Doorstep, said: str, headers: dict[str, str] | None
) -> None:
    doorstep.ollama.script = Script(says={"text": "🌳 Trees or Roofs"})
    before, calls = await doorstep.task_ids(), len(doorstep.ollama.calls)
    model = f"{doorstep.image}-plain" if headers is None else doorstep.image
    answer = await ask(doorstep, said, model=model, extra_headers=headers)
    assert answer.choices[0].message.content == "🌳 Trees or Roofs"
    [call] = doorstep.ollama.calls[calls:]
    assert (call.user, call.model) == (said, doorstep.world.on_file().models.by_persona()["ALFRED"])
    assert answer.usage and answer.usage.completion_tokens > 0
    assert await doorstep.task_ids() == before


async def test_a_question_about_documents_and_one_that_begins_alike_are_tasks(doorstep: Doorstep) -> None:
    answers = await asyncio.gather(
        ask(doorstep, DOCUMENTS),
        ask(doorstep, "### Task:\nHelp me decide."),
        ask(doorstep, TITLE, extra_headers={"X-OpenWebUI-Task": ""}),
    )
    assert {told(answer)["outcome"] for answer in answers} == {"converged"}


async def test_the_plain_model_answers_at_the_settings_of_now_and_fails_by_name(doorstep: Doorstep) -> None:
    doorstep.world.edit({"models.alfred": "mistral:7b"})
    await doorstep.world.update("reload_settings", None, dict)
    try:
        answer = await ask(doorstep, "Hello?", model=f"{doorstep.image}-plain")
        assert told(answer) == {"model_backend": "ollama mistral:7b"}
        doorstep.ollama.script.models = ["llama3.1:8b"]
        with pytest.raises(APIStatusError) as failed:
            await ask(doorstep, "Hello?", model=f"{doorstep.image}-plain")
        assert (failed.value.status_code, failed.value.code) == (502, "ModelNotPulled")
        assert "ollama pull mistral:7b" in failed.value.message
    finally:
        doorstep.world.edit({"models.alfred": "qwen2.5:7b"})
        await doorstep.world.update("reload_settings", None, dict)


async def test_a_task_that_failed_is_a_502_and_is_argued_anew_when_it_is_asked_for_again(
    doorstep: Doorstep,
) -> None:
    doorstep.ollama.script.models = []
    with pytest.raises(APIStatusError) as failed:
        await ask(doorstep, "Will it fail?")
    assert (failed.value.status_code, failed.value.code) == (502, "ModelNotPulled")
    assert failed.value.response.headers["x-should-retry"] == "false"
    doorstep.ollama.script.models = None
    answer = await ask(doorstep, "Will it fail?")
    assert told(answer)["task_id"].endswith("-2")
    assert told(await ask(doorstep, "Will it fail?")) == told(answer)


async def test_six_chats_at_once_are_six_tasks(doorstep: Doorstep) -> None:
    answers = await asyncio.gather(*(ask(doorstep, f"Question {number}?") for number in range(6)))
    assert len({told(answer)["task_id"] for answer in answers}) == 6
    assert {told(answer)["outcome"] for answer in answers} == {"converged"}


async def test_what_a_client_sends_that_cannot_be_served_is_refused_by_name(doorstep: Doorstep) -> None:
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"model": "gpt-5"}, 404, "model_not_found"),
        ({"n": 2}, 400, "invalid_request"),
        ({"response_format": {"type": "json_object"}}, 400, "invalid_request"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}, 400, "invalid_request"),
        ({"messages": []}, 400, "invalid_request"),
        ({"messages": [{"role": "user", "content": picture}]}, 400, "invalid_request"),
        ({"messages": [{"role": "nobody", "content": "?"}]}, 400, "invalid_request"),
        ({"messages": [{"role": "system", "content": "Be brief."}]}, 400, "no_task"),
        ({"messages": [*user("Trees?"), {"role": "assistant", "content": "Trees, be"}]}, 400, "no_task"),
    ]
    async with httpx.AsyncClient(base_url=doorstep.url, timeout=60) as http:
        for fields, status, code in wrong:
            body = {"model": doorstep.image, "messages": user("Trees?"), **fields}
            answer = await http.post("/chat/completions", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), fields
            assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
        assert "'image_url'" in (await http.post("/chat/completions", json={**body, **wrong[5][0]})).text
        assert (await http.get("/chat/completions")).json()["error"]["code"] == "not_served"
        assert (await http.get("/embeddings")).status_code == 404


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


async def test_what_needs_no_answer_is_passed_over(doorstep: Doorstep) -> None:
    tool = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}
    answer = await ask(doorstep, "Trees?", tools=[tool], temperature=0.1, max_tokens=5, seed=1, user="Ada")
    assert answer.choices[0].message.tool_calls is None
    assert told(answer)["outcome"] == "converged"
