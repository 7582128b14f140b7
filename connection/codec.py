"""How we write what a Temporal server keeps: encrypted by the keys of LIVING_IMAGE_KEYS, if there are any.

Without keys nothing is encrypted, and the library for it is not loaded. What names a key is refused even
then: a workflow would drop a signal that it cannot read, and a workflow task that fails is tried again. What
only says that it is encrypted is not ours, and is left to be refused like all that nobody understands.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryReverseRequest,
    QueryWorkflowRequest,
    QueryWorkflowResponse,
)
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    DefaultFailureConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
)
from temporalio.service import RPCError, RPCStatusCode

from connection import sealing
from connection.problems import Problem

if TYPE_CHECKING:
    from messages.keys import Keys

ENCRYPTED = b"binary/encrypted"
KEY_ID = "encryption-key-id"
LATEST_EVENTS = 20
# A worker that was just restarted may have a long history to read first.
ANSWER_WITHIN = timedelta(seconds=15)
PAUSE_SECONDS = 0.2
CLOSED = (
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
)


class Sealed(Problem):
    """Something encrypted that the keys of this process do not open."""


class Codec(PayloadCodec, WithSerializationContext):
    """Encrypts each payload, and leaves those that are not encrypted as they are when it decrypts.

    `of_activity`: whether it is for what an activity is told and tells.
    """

    def __init__(self, keys: "Keys | None", of_activity: bool = False) -> None:
        self._keys = keys
        self.of_activity = of_activity

    def with_context(self, context: SerializationContext) -> "Codec":
        return Codec(self._keys, isinstance(context, ActivitySerializationContext))

    @property
    def encrypts(self) -> bool:
        return self._keys is not None

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._seal(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises Sealed."""
        return [self._open(payload) if is_sealed(payload) else payload for payload in payloads]

    def require(self, payload: Payload) -> None:
        """Raises Sealed where a payload cannot be read here."""
        if is_sealed(payload):
            self._open(payload)

    def as_spoken_in(self, payload: Payload) -> DataConverter | None:
        """How to write for who has written this, whom a newer key would tell nothing; None: as ever.

        Raises Sealed where that is unencrypted, or with a key that is not known here.
        """
        if self._keys is None:
            return None
        if not is_sealed(payload):
            told = "The worker that answers has no keys and could not read this"
            raise Sealed(f"{told}; set {sealing.VARIABLE} there")
        self._open(payload)
        key_id = _key_id(payload)
        return None if key_id == self._keys.first else converter_of(self._keys.led_by(key_id))

    def _seal(self, payload: Payload) -> Payload:
        if self._keys is None or is_sealed(payload):
            return payload
        key_id, data = self._keys.seal(payload.SerializeToString())
        return Payload(metadata={"encoding": ENCRYPTED, KEY_ID: key_id.encode()}, data=data)

    def _open(self, payload: Payload) -> Payload:
        key_id = _key_id(payload)
        if self._keys is None:
            raise Sealed(
                f"What was said cannot be read: it is encrypted with the key {key_id!r}, and "
                f"{sealing.VARIABLE} is not set; set it"
            )
        from messages.keys import CannotOpen  # noqa: PLC0415

        try:
            return Payload.FromString(self._keys.open(key_id, payload.data))
        except CannotOpen as fault:
            raise Sealed(f"What was said cannot be read: {fault}") from None


class Converter(DataConverter):
    """As any, but for the last heartbeat of an activity's attempt before: who cannot read it does without.

    The SDK would fail the activity for good, and with it what was asked.
    """

    async def decode(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        try:
            return await super().decode(payloads, type_hints)
        except Sealed:
            codec = self.payload_codec
            # What an activity is told has types, its heartbeats have none.
            if type_hints is not None or not (isinstance(codec, Codec) and codec.of_activity):
                raise
            return []


def _key_id(payload: Payload) -> str:
    return payload.metadata[KEY_ID].decode(errors="replace")


def is_sealed(payload: Payload) -> bool:
    return payload.metadata.get("encoding") == ENCRYPTED and KEY_ID in payload.metadata


def data_converter() -> DataConverter:
    """How every client and worker of ours writes and reads. Raises Problem where the keys cannot be read."""
    return converter_of(sealing.keys())


def converter_of(keys: "Keys | None") -> DataConverter:
    """How who has these keys writes and reads."""
    # Messages and stack traces of failures are no payloads by themselves.
    of_failures = DefaultFailureConverterWithEncodedAttributes if keys else DefaultFailureConverter
    return Converter(
        payload_converter_class=PydanticPayloadConverter,
        payload_codec=Codec(keys),
        failure_converter_class=of_failures,
    )


async def require_keys(client: Client, workflow_id: str) -> None:
    """Raises Sealed where the latest of what a running workflow was told cannot be read by this client.

    Whoever cannot read it should not tell it anything either: it might not be able to read that.
    """
    reading = client.data_converter.payload_codec
    if not isinstance(reading, Codec):
        return
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=workflow_id),
        maximum_page_size=LATEST_EVENTS,
    )
    try:
        latest = await client.workflow_service.get_workflow_execution_history_reverse(request)
    except RPCError:  # there is none, or not every client may look: whoever goes on is told
        return
    if latest.history.events and latest.history.events[0].event_type in CLOSED:
        return
    for payload in payloads_in(latest.history):
        reading.require(payload)


async def speaking_to(client: Client, workflow_id: str) -> Client:
    """A client that encrypts what a workflow is told with the key that the worker has which answers for it.

    What no worker can read is in the way of all that comes after it. Raises Sealed, RPCError.
    """
    codec = client.data_converter.payload_codec
    if not isinstance(codec, Codec) or not codec.encrypts:
        return client
    asked = QueryWorkflowRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=workflow_id),
        query=WorkflowQuery(query_type="__temporal_workflow_metadata"),
    )
    answer = await _answer(client, asked)
    for payload in answer.query_result.payloads:
        if (converter := codec.as_spoken_in(payload)) is not None:
            config = client.config()
            config["data_converter"] = converter
            return Client(**config)
    return client


async def _answer(client: Client, asked: QueryWorkflowRequest) -> QueryWorkflowResponse:
    """What a workflow answers. The server lets few queries wait at a time. Raises RPCError."""
    until = time.monotonic() + ANSWER_WITHIN.total_seconds()
    while True:
        try:
            return await client.workflow_service.query_workflow(asked, timeout=ANSWER_WITHIN)
        except RPCError as error:
            if error.status is not RPCStatusCode.RESOURCE_EXHAUSTED or time.monotonic() > until:
                raise
            await asyncio.sleep(PAUSE_SECONDS)


async def require_keys_of_queue(client: Client, task_queue: str) -> None:
    """`require_keys` of every image that lives on a task queue."""
    named = task_queue.replace("\\", "\\\\").replace("'", "\\'")
    living = f"TaskQueue = '{named}' AND WorkflowType = 'LivingImage' AND ExecutionStatus = 'Running'"
    try:
        images = [image.id async for image in client.list_workflows(living)]
    except RPCError:  # not every client may look
        return
    for image_id in images:
        await require_keys(client, image_id)


def payloads_in(message: Message) -> Iterator[Payload]:
    """Every payload in a message of Temporal's, search attributes included."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            values = [part for part in value.values() if isinstance(part, Message)]
        else:
            values = [value] if isinstance(value, Message) else list(value)
        for part in values:
            yield from payloads_in(part)
