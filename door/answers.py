"""Answers in OpenAI's form: the list of models, a completion, and the chunks of a stream."""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from door.refusals import Refusal
from door.requests import PLAIN, Asked
from door.telling import Delta
from messages.tasks import DialogueResult


@dataclass(frozen=True)
class End:
    """The end of an answer: the tokens it took, and what else there is to tell of it (`living_image`)."""

    tokens_in: int
    tokens_out: int
    told: dict[str, Any]

    @classmethod
    def of(cls, result: DialogueResult) -> "End":
        told = {
            "task_id": result.task_id,
            "outcome": result.outcome,
            "dissonance": [dissonance.value for dissonance in result.dissonance],
            "revision": result.revision,
            "model_backend": result.model_backend,
        }
        return cls(result.log.tokens_in, result.log.tokens_out, told)

    @property
    def usage(self) -> dict[str, int]:
        total = self.tokens_in + self.tokens_out
        return {
            "prompt_tokens": self.tokens_in,
            "completion_tokens": self.tokens_out,
            "total_tokens": total,
        }


Event = Delta | End


def models(image_id: str, created: int) -> list[dict[str, Any]]:
    common = {"object": "model", "created": created, "owned_by": "living-image"}
    return [{"id": name, **common} for name in (image_id, image_id + PLAIN)]


async def completion(asked: Asked, name: str, events: AsyncGenerator[Event]) -> dict[str, Any]:
    """The whole answer. Raises Refusal."""
    said: dict[str, str] = {"content": ""}
    end = End(0, 0, {})
    async with aclosing(events):
        async for event in events:
            if isinstance(event, End):
                end = event
            else:
                field, text = event
                said[field] = said.get(field, "") + text
    choice = {
        "index": 0,
        "message": {"role": "assistant", **said},
        "finish_reason": "stop",
        "logprobs": None,
    }
    head = {"id": name, "object": "chat.completion", "created": int(time.time()), "model": asked.model}
    return {**head, "choices": [choice], "usage": end.usage, "living_image": end.told}


async def chunks(asked: Asked, name: str, events: AsyncGenerator[Event]) -> AsyncGenerator[str]:
    """The data of each event of a stream; a failure is the last one."""
    head = {"id": name, "object": "chat.completion.chunk", "created": int(time.time()), "model": asked.model}

    def chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> str:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
        return json.dumps({**head, "choices": choices, **more})

    yield chunk({"role": "assistant", "content": ""})
    try:
        async with aclosing(events):
            async for event in events:
                if not isinstance(event, End):
                    yield chunk(dict([event]))
                    continue
                yield chunk({}, "stop", living_image=event.told)
                if asked.wants_usage:
                    yield json.dumps({**head, "choices": [], "usage": event.usage})
    except Refusal as refusal:
        yield json.dumps(refusal.body())
    else:
        yield "[DONE]"
