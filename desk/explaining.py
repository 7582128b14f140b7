"""How a loop came to its answer: computed once more, from what its history recorded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from connection.problems import Refused
from desk.events import carried_out
from messages.loops import OptimizerAnswer, OptimizerRequest

if TYPE_CHECKING:
    from desk.client import Desk

PROPOSING = "propose_amendment"


async def recorded(desk: Desk, loop_id: str) -> tuple[OptimizerRequest, OptimizerAnswer]:
    """The last question of a loop to the optimizer, and its answer. Raises Refused where there is none."""
    last = None
    async for asked_and_answered in carried_out(desk.events(loop_id), [PROPOSING]):
        last = asked_and_answered
    if last is None:
        raise Refused(f"{loop_id} has no answer of the optimizer yet. See: python starter.py show {loop_id}")
    question, answer = last
    decode = desk.client.data_converter.decode
    (request,) = await decode(question, [OptimizerRequest])
    (answered,) = await decode(answer, [OptimizerAnswer])
    return request, answered


async def computed_again(request: OptimizerRequest) -> OptimizerAnswer:
    """What the optimizer of this program makes of a recorded question."""
    from optimizer.consider import consider

    return await asyncio.to_thread(consider, request)


def differences(recorded: OptimizerAnswer, computed: OptimizerAnswer) -> list[str]:
    """What comes out otherwise: dotted names with both values."""
    found: list[str] = []
    _compare("", recorded.model_dump(mode="json"), computed.model_dump(mode="json"), found)
    return found


def _compare(name: str, then: Any, now: Any, found: list[str]) -> None:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*then, *now]):
            _compare(f"{name}.{key}".lstrip("."), then.get(key), now.get(key), found)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for place, (one, other) in enumerate(zip(then, now, strict=True), 1):
            _compare(f"{name}.{place}", one, other, found)
    elif then != now:
        found.append(f"{name}: {then} then, {now} now")
