"""Messages to every handler of every workflow, on a real server, and workflows started with anything."""

import asyncio
import uuid
from typing import Any, NamedTuple

from hypothesis import strategies as st
from pydantic_core import from_json
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from messages import requests
from messages.image import ImageStatus
from runtime.workers import WORKFLOWS
from testbed.hostile.words import as_json, texts, values_with
from testbed.world import World

SECONDS = 120
"""Far longer than any answer takes: what is not there by then hangs."""
AGAIN = (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.RESOURCE_EXHAUSTED)
"""The server hands a message back while a workflow continues as new, or has too many on the way."""
ORDERS = ("retire", "save_image")
"""They end the image, or choose where files are written: sent only with what they refuse."""
STUCK = (EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED, EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)

_LOG = {"task_id": "elsewhere", "final_dissonance": 0.5, "turn_count": 1, "outcome": "max_turns"}
_NEARLY: list[dict[str, Any]] = [
    {"task": "Why?", "task_id": "one", "task_type": "question", "trace": ""},
    _LOG,
    {"task_id": "held", "log": _LOG, "model_backend": "x"},
    {"task_id": "one", "rating": 1, "comment": "good", "rated_by": "Ada"},
    {
        "verdict": "approve",
        "approver": "Ada",
        "changes": {"autopoiesis.max_turns": 9},
        "proposal_digest": "0",
    },
    {
        "approver": "Ada",
        "signature": {"key": "ssh-ed25519 AAAA", "expires_at": "2999-01-01", "signature": "AA"},
    },
    {"loop_id": "loop", "state": "approved", "decided_at": "2026-01-01T00:00:00Z", "changes": []},
    {"loop_id": "loop", "obstacle": "none"},
    {"inquiry_id": "inquiry", "reason": "none", "goals": []},
    {"revision": 1, "approver": "Ada", "comment": ""},
    {"action": "revert", "approver": "Ada"},
    {"model_backend": "a model"},
    {"held": True},
    {"settings": {}, "state": None, "image_id": "x", "loop_id": "x", "window": [], "task": "x"},
]
_KEYS = sorted(
    {key for nearly in _NEARLY for key in nearly}
    | {
        field
        for kind in vars(requests).values()
        if isinstance(kind, type) and issubclass(kind, requests.Request)
        for field in kind.model_fields
    }
)
_values = values_with(_KEYS)


@st.composite
def _bent(draw: st.DrawFn) -> dict[str, Any]:
    """An object that is nearly right."""
    bent = dict(draw(st.sampled_from(_NEARLY)))
    for _ in range(draw(st.integers(1, 2))):
        bent[draw(st.sampled_from([*bent, *_KEYS]))] = draw(st.one_of(texts, _values))
    return bent


_data = st.one_of(
    _bent().map(as_json),
    _values.map(as_json),
    texts.map(as_json),
    st.binary(max_size=40),
    st.sampled_from([b"", b'"\\ud800"', b"1e999", b"nul", b"\xff\xfe{}"]),
    st.sampled_from([(b"[", 100_000), (b'{"a":', 5_000)]).map(lambda part: part[0] * part[1]),
    st.just(1_500_000).map(lambda size: b'{"task": "' + b"x" * size + b'"}'),
)
_encodings = st.sampled_from(
    [b"json/plain"] * 8 + [b"binary/plain", b"binary/encrypted", b"binary/null", b"?"]
)
MOST_BYTES = 1_900_000
"""What is more than 2 MiB in all no worker can refuse, see SECURITY.md."""
messages = st.lists(st.tuples(_data, _encodings), max_size=3).filter(
    lambda message: sum(len(data) for data, _ in message) < MOST_BYTES
)


class Handler(NamedTuple):
    """`of`: the workflow that has it."""

    of: str
    kind: str
    name: str


def handlers() -> list[Handler]:
    """Every signal, update and query of every workflow, and one of each that nobody knows."""
    found = []
    for each in WORKFLOWS:
        defined = workflow._Definition.must_from_class(each)  # no public way to ask
        taken = {"signal": defined.signals, "update": defined.updates, "query": defined.queries}
        for kind, names in taken.items():
            found += [Handler(each.__name__, kind, name) for name in [*filter(None, names), "unknown"]]
    return found


class Sent(NamedTuple):
    handler: Handler
    message: list[tuple[bytes, bytes]]


sent = st.builds(Sent, st.sampled_from(handlers()), messages)


def _can_be_read(data: bytes) -> bool:
    try:
        from_json(data)
    except ValueError:
        return False
    return True


# A workflow that is started with more than one argument, or with what nobody can read, waits for a worker
# that takes it, as it does for one with the right key.
_readable = st.lists(
    st.tuples(st.one_of(_bent(), _values, texts).map(as_json).filter(_can_be_read), st.just(b"json/plain")),
    max_size=1,
)
starts = st.tuples(st.sampled_from([each.__name__ for each in WORKFLOWS]), _readable)


class Addressees(NamedTuple):
    """One workflow of each kind, by its name; whoever is missing, the image hears instead."""

    world: World
    by_name: dict[str, WorkflowHandle[Any, Any]]

    async def hear(self, case: Sent) -> None:
        """Send a message and have it answered or refused."""
        handler, message = case
        arguments: list[Any] = [_payload(*each) for each in message]
        if handler.name in ORDERS:
            arguments = [{"sudo": repr(message)[:1_000]}]
        handle = self.by_name.get(handler.of, self.world.image)
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    await _send(handle, handler, arguments)
                except (WorkflowUpdateFailedError, WorkflowQueryFailedError):
                    return
                except RPCError as error:
                    if error.status in AGAIN:
                        await asyncio.sleep(0.05)
                        continue
                    # The server itself refuses what is too large, and a name that no query has.
                    assert error.status is RPCStatusCode.INVALID_ARGUMENT, error
                return

    async def begin(self, case: tuple[str, list[tuple[bytes, bytes]]]) -> None:
        """A workflow that is started with anything fails at once, and is not tried for ever."""
        name, message = case
        try:
            async with asyncio.timeout(SECONDS):
                await self.world.client.execute_workflow(
                    name,
                    args=[_payload(*each) for each in message],
                    id=f"{self.world.name}/bad/{uuid.uuid4().hex}",
                    task_queue=self.world.name,
                )
        except WorkflowFailureError:
            return
        except RPCError as error:
            assert error.status is RPCStatusCode.INVALID_ARGUMENT, error
            return
        raise AssertionError("it ran")

    async def live_on(self) -> None:
        """Each answers, and none of their workflow tasks has ever failed or timed out."""
        self.world.ollama.answering.set()
        await self.world.update("resume", None, ImageStatus)
        await self.world.tasks_finished()
        assert (await self.world.ask("Do you live?", task_id=f"alive-{uuid.uuid4().hex[:8]}")).synthesis
        for handle in (self.world.image, *self.by_name.values()):
            stuck = [
                event.event_id async for event in handle.fetch_history_events() if event.event_type in STUCK
            ]
            assert not stuck, (handle.id, stuck)


async def _send(handle: WorkflowHandle[Any, Any], handler: Handler, arguments: list[Any]) -> None:
    match handler.kind:
        case "signal":
            await handle.signal(handler.name, args=arguments)
        case "update":
            await handle.execute_update(handler.name, args=arguments)
        case "query":
            await handle.query(handler.name, args=arguments)


def _payload(data: bytes, encoding: bytes) -> RawValue:
    """A payload as it is, past every check of the client."""
    return RawValue(Payload(metadata={"encoding": encoding}, data=data))
