"""A call of a persona, as an activity is given one, and one attempt at it."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from messages.calls import PersonaCall
from messages.goals import Scoring


def a_call(host: str, words: str = "antithesis", **changes: Any) -> PersonaCall:
    return PersonaCall(
        persona="ROBIN",
        words=words,
        fields={"task": "Tea or coffee?", "plan": "Weigh.", "thesis": "Tea.", "antithesis": "Coffee."},
        model="llama3.1:8b",
        host=host,
        temperature=0.6,
        max_answer_tokens=50,
        timeout_seconds=30,
        max_concurrent_calls=2,
    ).model_copy(update=changes)


class Attempt(ActivityEnvironment):
    """One attempt of an activity. `failed` counts the failures of earlier ones, as heartbeats keep them."""

    def __init__(self, failed: dict[str, int] | None = None, number: int = 1) -> None:
        super().__init__()
        details = [] if failed is None else [{"state": "", "tokens": 0, "failed": failed}]
        self.info = dataclasses.replace(self.info, heartbeat_details=details, attempt=number)
        self.beats: list[dict[str, Any]] = []
        self.on_heartbeat = self.beats.append

    def states(self) -> list[str]:
        return [beat["state"] for beat in self.beats]


async def failure_of(
    attempt: Attempt, activity: Callable[..., Awaitable[Any]], call: PersonaCall | Scoring
) -> ApplicationError:
    with pytest.raises(ApplicationError) as raised:
        await attempt.run(activity, call)
    return raised.value
