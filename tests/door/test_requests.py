"""Whatever is sent to the door, it is read or refused in OpenAI's form: nothing breaks it."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from door.conversation import task_of
from door.refusals import Refusal
from door.requests import Asked, read_request
from messages.common import TASK_BYTES
from messages.requests import SubmitTask
from tests.door.conftest import UNHURRIED

HALF = '"\\ud800"'
USER = '{"role": "user", "content": %s}'

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
parts = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio", "file"]) | anything},
    optional={"text": st.text(max_size=20) | anything},
)
messages = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]) | anything,
        "content": st.text(max_size=3000) | st.lists(parts | anything, max_size=4) | anything,
    }
)
bodies = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["image", "image-plain"]) | anything,
        "messages": st.lists(messages | anything, max_size=8) | anything,
    },
    optional=dict.fromkeys(
        ("stream", "stream_options", "n", "modalities", "response_format", "tools"), anything
    ),
)
headers = st.dictionaries(
    st.sampled_from(["idempotency-key", "x-openwebui-chat-id", "x-openwebui-message-id", "x-openwebui-task"]),
    st.text(max_size=20),
)


def read(body: bytes, sent: dict[str, str]) -> Asked | None:
    """What is read and would be handed in, or None for what is refused as it should be."""
    try:
        asked = read_request(body, sent, "image")
        task = task_of(asked.messages)
    except Refusal as refusal:
        assert 400 <= refusal.status < 500
        json.dumps(refusal.body(), ensure_ascii=False).encode()
        return None
    assert SubmitTask(task=task, task_id=f"chat-{asked.key}-2").task.strip()
    assert len(task.encode()) <= TASK_BYTES
    return asked


@UNHURRIED
@given(st.binary(max_size=200), headers)
@example(b"[" * 100_000, {})
@example(b"1" * 5_000, {})
@example(b'{"model": "image", "messages": [' + (USER % HALF).encode() + b"]}", {})
@example(b'{"model": ' + HALF.encode() + b', "messages": [{"role": "user", "content": "?"}]}', {})
@example(b"\xff\xfe", {"idempotency-key": "\ud800"})
def test_bytes_of_any_kind_are_read_or_refused(body: bytes, sent: dict[str, str]) -> None:
    read(body, sent)


@UNHURRIED
@given(bodies, headers)
def test_json_of_nearly_the_right_form_is_read_or_refused(body: dict[str, Any], sent: dict[str, str]) -> None:
    read(json.dumps(body).encode(), sent)


@UNHURRIED
@given(st.lists(st.text(max_size=4000), min_size=1, max_size=8), st.text(min_size=1, max_size=2000))
def test_a_task_ends_with_the_last_message_and_holds_the_latest_before_it(said: list[str], last: str) -> None:
    chat = [{"role": "user", "content": text} for text in [*said, f"{last}?"]]
    asked = read(json.dumps({"model": "image", "messages": chat}).encode(), {})
    assert asked
    task = task_of(asked.messages)
    *before, end = [message.content for message in asked.messages if message.content.strip()]
    assert task.endswith(end)
    left_out = next((at for at, text in enumerate(reversed(before)) if text.strip() not in task), None)
    if left_out is not None:
        assert "left out" in task or "<conversation>" not in task


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("### Task:\nSuggest 3-5 relevant follow-up questions", True),
        ("### Task:\nYou are an autocompletion system.", True),
        ("### Task:\nGenerate 1-3 broad tags", True),
        ("### Task:\nAnalyze the chat history to determine the necessity", True),
        ("### Task:\nRespond to the user query using the provided context", False),
        ("Please: ### Task:\nGenerate a title", False),
    ],
)
def test_front_ends_that_send_no_header_are_known_by_their_prompts(text: str, is_plain: bool) -> None:
    def ask(*said: str) -> Asked | None:
        chat = [{"role": "user", "content": each} for each in said]
        chat.insert(0, {"role": "system", "content": "Be brief."})
        return read(json.dumps({"model": "image", "messages": chat}).encode(), {})

    asked, in_a_chat = ask(text), ask("Hello", text)
    assert asked and asked.plain is is_plain
    assert in_a_chat and not in_a_chat.plain
