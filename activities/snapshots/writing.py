"""Writes snapshots of a living image: the activity, and the process of its own that pickles.

A snapshot is one answer of the image to its query `state`, so it is consistent; it is no part of any history.
Where nothing has changed since the last good one, that one is the answer.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio.to_process
from temporalio import activity
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.heartbeats import heartbeats
from activities.hosted import Files, Hosted, asking_image, file_of_asking
from activities.memory.histories import Histories
from activities.memory.store import MemoryStore, entries_of
from activities.snapshots import plain_pickle
from activities.snapshots.format import Header, digest_of, encrypt, encryption_keys, pack, signing_key
from activities.snapshots.places import Place, require_below
from messages.common import excerpt
from messages.files import SnapshotOrder, SnapshotReceipt
from messages.names import task_workflow_id
from messages.tasks import Transcript

if TYPE_CHECKING:
    from messages.keys import Keys

# A worker that was just restarted may have a long history to read before it answers.
ANSWER_WITHIN = timedelta(seconds=15)
SYNC_BYTES = 4 << 20
"""Written through to the disk at a time. Whoever else waits for the disk, such as a server that writes a
history, would otherwise wait for all of a large snapshot."""
LOWEST_PRIORITY = 19

log = logging.getLogger(__name__)

Memories = Callable[[str], Iterable[dict[str, Any]]]
"""What an image remembers beside its state, as plain dicts, by its name.

It is pickled to, and called in, the process that writes: a module's function or a `functools.partial` of it.
"""


def no_memories(image_id: str) -> Iterable[dict[str, Any]]:
    return ()


class Content(NamedTuple):
    """What goes into a snapshot. `known`: the digest of the last good one's payload; `keys` encrypt it."""

    image_id: str
    generation: int
    state: dict[str, Any]
    memories: Memories
    known: str
    keys: "Keys | None" = None


class Snapshots:
    """The activity of one machine; its `memory` goes along.

    A relative `image_path` is relative to the folder of the settings file. Where there are many of these, a
    folder must lie below it.
    """

    def __init__(self, client: Client, files: Files, memory: MemoryStore) -> None:
        self._client = client
        self._files = files
        self._memory = memory
        self._histories = Histories(client)
        self._one_at_a_time = asyncio.Lock()

    @activity.defn
    async def write_snapshot(self, order: SnapshotOrder) -> SnapshotReceipt:
        """Save the image as it is now, unless it is saved as it is.

        Fails with SnapshotNotWritten (for good: a person must mend the place), or, to be tried again, with
        what the image could not be asked for.
        """
        async with heartbeats(), self._one_at_a_time:
            many = isinstance(self._files, Hosted)
            if many and order.image_id != asking_image():
                raise ApplicationError(
                    f"{asking_image()} may save itself, and not {order.image_id}",
                    type="SnapshotNotWritten",
                    non_retryable=True,
                )
            base = (await asyncio.to_thread(file_of_asking, self._files)).absolute().parent
            state = await self._ask_for_state(order.image_id)
            ended = [task["task_id"] for task in state["finished"] if task["outcome"] != "failed"]
            # All of it, not what a recall looks through: on another server the histories will be gone.
            await self._histories.catch_up(self._memory, order.image_id, listed=None, ended=ended)
            try:
                memories = partial(entries_of, self._memory.path)
                return await save(order, state, base, memories, only_below=many)
            except Exception as error:  # every file system has errors of its own
                reason = excerpt(str(error), 500) or type(error).__name__
                raise ApplicationError(
                    f"no snapshot could be written to {order.place} ({reason}); make room or give access "
                    "there, or change [system] image_path",
                    type="SnapshotNotWritten",
                    non_retryable=True,
                ) from error

    async def _ask_for_state(self, image_id: str) -> dict[str, Any]:
        """The image's state in JSON mode, with every word of the tasks that run."""
        image = self._client.get_workflow_handle(image_id)
        state: dict[str, Any] = await image.query("state", result_type=dict, rpc_timeout=ANSWER_WITHIN)
        # How it stands with its snapshots changes with each of them; it would make each differ from the last.
        state.pop("keeping", None)
        for task in state["running"]:
            task["task"] = await self._whole_task(image_id, task)
        return state

    async def _whole_task(self, image_id: str, task: dict[str, Any]) -> str:
        dialogue = self._client.get_workflow_handle(task_workflow_id(image_id, task["task_id"]))
        try:
            transcript: Transcript = await dialogue.query(
                "transcript", result_type=Transcript, rpc_timeout=ANSWER_WITHIN
            )
        except (WorkflowQueryFailedError, RPCError) as error:
            if isinstance(error, RPCError) and error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return str(task["task"])  # its dialogue is lost: the excerpt is all that is left
        return transcript.task


async def save(
    order: SnapshotOrder,
    state: dict[str, Any],
    base: Path,
    memories: Memories = no_memories,
    only_below: bool = False,
) -> SnapshotReceipt:
    """Write one snapshot into its place. Raises what the place raises, BadSnapshot or NotPlain.

    `only_below`: into no folder of this machine that is not below `base`.
    """
    key = signing_key()
    if only_below:
        require_below(order.place, base)
    place = Place(order.place, base, order.image_id)
    await asyncio.to_thread(place.make)
    async with place.locked():
        await asyncio.to_thread(place.clear)
        last = await asyncio.to_thread(place.newest_good, key)
        newest = max((found.generation for found in await asyncio.to_thread(place.all)), default=0)
        content = Content(
            image_id=order.image_id,
            generation=max(order.generation, newest + 1),
            state=state,
            memories=memories,
            known=last.header.payload_sha256 if last else "",
            keys=encryption_keys(),
        )
        with place.temporary() as file:
            if await anyio.to_process.run_sync(write_file, file, content, key, cancellable=True):
                return await asyncio.to_thread(_settle, place, file, content.generation, order.keep, key)
        assert last is not None
        return last.receipt


def _settle(place: Place, file: Path, generation: int, keep: int, key: bytes) -> SnapshotReceipt:
    written = place.check(place.put(file, generation), key)
    try:
        place.prune(keep, key)
    except Exception as error:  # every file system has errors of its own
        log.warning("%s was written; older ones could not be removed: %s", written.receipt.path, error)
    return written.receipt


def write_file(file: Path, content: Content, key: bytes) -> bool:
    """Write a snapshot through to the disk; false where there is nothing new in it.

    In a process of its own: pickling holds the interpreter, and the worker has heartbeats to send.
    """
    os.setpriority(os.PRIO_PROCESS, 0, LOWEST_PRIORITY)
    envelope = {"format": 1, "state": content.state, "memory": list(content.memories(content.image_id))}
    payload = plain_pickle.dump(envelope)
    payload_sha256 = digest_of(payload, content.keys)
    if payload_sha256 == content.known:
        return False
    header = Header(
        image_id=content.image_id,
        started_at=datetime.fromisoformat(content.state["started_at"]),
        generation=content.generation,
        written_at=datetime.now(UTC),
        payload_bytes=len(payload),
        payload_sha256=payload_sha256,
        library=f"dill {version('dill')}",
        signed=bool(key),
    )
    if content.keys is not None:
        header, payload = encrypt(header, payload, content.keys)
    _write_through(file, pack(header, payload, key))
    return True


def _write_through(file: Path, parts: list[bytes]) -> None:
    with file.open("xb") as out:
        for part in parts:
            for start in range(0, len(part), SYNC_BYTES):
                out.write(memoryview(part)[start : start + SYNC_BYTES])
                if len(part) > SYNC_BYTES:
                    out.flush()
                    os.fdatasync(out.fileno())
        out.flush()
        os.fsync(out.fileno())
