"""What is asked at the door: the body of a chat request and its headers, read and bounded."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator

from door.refusals import Refusal
from messages.common import excerpt

Model = TypeVar("Model", bound=BaseModel)

PLAIN = "-plain"
"""What the second model's id ends with: one plain call, no argument."""

IDEMPOTENCY, CHAT, MESSAGE, CHORE = (
    "idempotency-key",
    "x-openwebui-chat-id",
    "x-openwebui-message-id",
    "x-openwebui-task",
)
# How Open WebUI's own prompts for titles, tags, follow-up questions, searches, pictures and the rest of a
# sentence begin. The one that puts documents before a question begins alike and is no chore.
_CHORES = re.compile(r"### Task:\s*(Generate |Suggest |Analyze the chat history|You are an autocompletion)")
INSTRUCTIONS = ("system", "developer")
_UNFILLED = re.compile(r"\{\{.*\}\}")


class Message(BaseModel):
    """One message of a chat; `content` is its text, whatever parts it came in."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str = ""

    @field_validator("content", mode="before")
    @classmethod
    def _read_parts(cls, content: Any) -> str:
        parts = content if isinstance(content, list) else [content or ""]
        # Half of a character, escaped, is JSON, yet no text that holds it can be sent on.
        return "\n".join(map(_text_of, parts)).encode(errors="replace").decode()


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class Body(BaseModel):
    """What counts of a request. All else steers nothing here, such as tools or temperature."""

    model: str
    messages: list[Message] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    modalities: list[Literal["text"]] | None = None
    response_format: Any = None

    @field_validator("response_format")
    @classmethod
    def _is_text(cls, form: Any) -> None:
        if form is not None and form != {"type": "text"}:
            raise ValueError("the image answers in words; it keeps to no other form")


@dataclass(frozen=True)
class Asked:
    """A request. `key` names it: the same again is the same task. `plain`: one call, no argument."""

    model: str
    messages: Sequence[Message]
    key: str
    plain: bool
    streams: bool
    wants_usage: bool


def read_request(body: bytes, headers: Mapping[str, str], image_id: str) -> Asked:
    """The request in a body; the names of `headers` are in lower case. Raises Refusal."""
    read = read_model(Body, body)
    if read.model not in (image_id, image_id + PLAIN):
        ids = f"{image_id} and {image_id}{PLAIN}"
        raise Refusal(
            404, f"there is no model {excerpt(read.model)!r} here, only {ids}", "model_not_found", "model"
        )
    options = read.stream_options
    return Asked(
        model=read.model,
        messages=read.messages,
        key=_key(read, headers),
        plain=read.model != image_id or _is_chore(read.messages, headers),
        streams=bool(read.stream),
        wants_usage=bool(options and options.include_usage),
    )


def read_model(model: type[Model], body: bytes) -> Model:
    """What a body holds. Raises Refusal."""
    try:
        return model.model_validate(json.loads(body))
    except ValidationError as error:
        raise _refusal(error) from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else excerpt(str(error))
        raise Refusal(400, f"the request is not JSON: {reason}", "not_json") from None


def _text_of(part: Any) -> str:
    match part:
        case str(text) | {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
            return text
        case {"type": str(kind)}:
            raise ValueError(f"a part of type {excerpt(kind)!r} cannot be read; the image takes text alone")
    raise ValueError("it must be a text or a list of parts with a type")


def _refusal(error: ValidationError) -> Refusal:
    fault = error.errors(include_url=False, include_input=False)[0]
    param = excerpt(".".join(map(str, fault["loc"])))
    reason = excerpt(fault["msg"].removeprefix("Value error, "), 300)
    return Refusal(400, f"{param or 'the request'}: {reason}", "invalid_request", param or None)


def _key(read: Body, headers: Mapping[str, str]) -> str:
    """Twenty hex digits: of the names that a front end gives, else of all that was said to which model."""
    chat, message = _filled(headers, CHAT), _filled(headers, MESSAGE)
    if own := _filled(headers, IDEMPOTENCY):
        named = ["key", own]
    elif chat and message:
        named = ["message", chat, message]
    else:
        named = ["said", chat, *(text for said in read.messages for text in (said.role, said.content))]
    return hashlib.sha256(json.dumps([read.model, *named]).encode()).hexdigest()[:20]


def _is_chore(said: Sequence[Message], headers: Mapping[str, str]) -> bool:
    """Whether a front end asks for itself: by its header, else by how its prompts begin."""
    if CHORE in headers and not _UNFILLED.search(headers[CHORE]):
        return bool(headers[CHORE].strip())
    talk = [message for message in said if message.role not in INSTRUCTIONS]
    return len(talk) == 1 and _CHORES.match(talk[0].content) is not None


def _filled(headers: Mapping[str, str], name: str) -> str:
    """A header's value; nothing where a front end that knows no such name left it as {{NAME}}."""
    value = headers.get(name, "").strip()
    return "" if _UNFILLED.search(value) else value
