"""Fills the memory from the server: dialogues that completed since the store last looked."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pydantic import BaseModel
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.memory.store import MemoryStore
from activities.recorded import read_start
from messages.names import dialogues_of, task_of, task_workflow_id

OVERLAP = timedelta(minutes=10)
"""How far a look reaches back behind the last one: the server's lists lag behind its histories by seconds."""
THOROUGH_EVERY_SECONDS = 60.0
"""How often a look goes back that far. Those between stop where the list comes to tasks that are known."""
SHORT_OVERLAP = timedelta(seconds=10)
"""How far they go back at most: the more the server has to sort, the longer it takes."""
PAGE, SHORT_PAGE = 1_000, 5
MOST_LISTED = 1_000
"""The newest tasks that a recall looks through; `memory rebuild` looks through all."""
MOST_HEARD = 64
AT_ONCE = 10
"""Histories that are read at the same time, each two calls of the server, and kept together."""
ENDS_WITHIN_SECONDS = 5.0
"""For a dialogue that has told the image its end, and now only has to complete."""
HEARD_LASTS = timedelta(seconds=2)
"""How soon after its synthesis a dialogue must have completed for that to be the one it ended with. Had it
not reached the server it would have been asked for again, but only after a heartbeat timeout of 4 s."""


class Heard(NamedTuple):
    """A synthesis that this worker has just brought about. `at`: when."""

    run_id: str
    task: str
    synthesis: str
    at: datetime


class _Asked(BaseModel):
    """What memory needs of a DialogueStart; of any version, so it is not read as one."""

    task: str


class _Concluded(BaseModel):
    """What memory needs of a DialogueResult."""

    synthesis: str


class Histories:
    """The finished dialogues of one server."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._source = f"{client.service_client.config.target_host} {client.namespace}"
        self._looked: dict[str, float] = {}
        self._latest: dict[str, datetime] = {}
        self._heard: OrderedDict[str, Heard] = OrderedDict()

    def hear(self, workflow_id: str, heard: Heard) -> None:
        """What a dialogue comes to: it need not be read again when it has completed."""
        self._heard[workflow_id] = heard
        while len(self._heard) > MOST_HEARD:
            self._heard.popitem(last=False)

    async def catch_up(
        self,
        store: MemoryStore,
        image_id: str,
        listed: int | None = MOST_LISTED,
        ended: Collection[str] = (),
    ) -> int:
        """Remember what completed since the last look; return how many tasks are new to the store.

        What does not fit into `listed` (None: all) is left out. `ended`: tasks that are known to have ended,
        even if the server does not list them yet. Raises RPCError, and what MemoryStore raises; what was read
        before stays remembered, and the next look goes on from there.
        """
        until = await store.in_thread(store.looked_until, self._source, image_id)
        since_thorough = time.monotonic() - self._looked.get(image_id, -math.inf)
        thorough = not until or since_thorough > THOROUGH_EVERY_SECONDS
        if not thorough and image_id in self._latest:
            until = (self._latest[image_id] - SHORT_OVERLAP).isoformat()
        closed, unread = await self._closed(store, image_id, until, thorough, listed)
        names = {each.id for each in closed}
        known = await store.in_thread(store.held, image_id, ended)
        for task_id in ended:
            workflow_id = task_workflow_id(image_id, task_id)
            if task_id not in known and workflow_id not in names:
                found = await self._not_listed(workflow_id)
                closed, unread = closed + found, unread + found
        new = 0
        for start in range(0, len(unread), AT_ONCE):
            entries = await asyncio.gather(
                *(self._entry(image_id, each) for each in unread[start : start + AT_ONCE])
            )
            new += await store.in_thread(store.add, [entry for entry in entries if entry])
        latest = max(map(_closed_at, closed), default=None)
        if latest:
            self._latest[image_id] = latest
        if thorough:
            self._looked[image_id] = time.monotonic()
            if latest:
                next_time = (latest - OVERLAP).isoformat()
                await store.in_thread(store.set_looked_until, self._source, image_id, next_time)
        return new

    async def _closed(
        self, store: MemoryStore, image_id: str, until: str, thorough: bool, most: int | None
    ) -> tuple[list[WorkflowExecution], list[WorkflowExecution]]:
        """The dialogues that completed since a moment, as far as one looks, and those not remembered yet."""
        query = f"{dialogues_of(image_id)} AND ExecutionStatus = 'Completed'"
        if until:
            query += f" AND CloseTime >= '{until}'"
        # The server tells the latest first.
        listing = self._client.list_workflows(query, limit=most, page_size=PAGE if thorough else SHORT_PAGE)
        closed: list[WorkflowExecution] = []
        unread: list[WorkflowExecution] = []
        while True:
            await listing.fetch_next_page()
            page = list(listing.current_page or ())
            known = await store.in_thread(store.held, image_id, [task_of(each.id)[1] for each in page])
            closed += page
            unread += (new := [each for each in page if _is_new(each, known)])
            enough = most is not None and len(closed) >= most
            if not listing.next_page_token or enough or (len(new) < len(page) and not thorough):
                return closed, unread

    async def _not_listed(self, workflow_id: str) -> list[WorkflowExecution]:
        """A dialogue that has completed, or is about to; none where it did not."""
        dialogue: WorkflowHandle[Any, Any] = self._client.get_workflow_handle(workflow_id)
        try:
            async with asyncio.timeout(ENDS_WITHIN_SECONDS):
                await dialogue.result()
            execution = await dialogue.describe()
        except (WorkflowFailureError, TimeoutError):
            return []
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return []
            raise
        return [execution] if execution.status is WorkflowExecutionStatus.COMPLETED else []

    async def _entry(self, image_id: str, execution: WorkflowExecution) -> dict[str, Any] | None:
        """What a dialogue was asked and came to; None when its history is gone or cannot be read."""
        closed_at = _closed_at(execution)
        heard = self._heard.pop(execution.id, None)
        if heard and heard.run_id == execution.run_id and abs(closed_at - heard.at) < HEARD_LASTS:
            task, synthesis = heard.task, heard.synthesis
        else:
            dialogue = self._client.get_workflow_handle(
                execution.id, run_id=execution.run_id, result_type=_Concluded
            )
            try:
                start, concluded = await asyncio.gather(
                    read_start(self._client, dialogue, _Asked), dialogue.result(follow_runs=False)
                )
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return None
                raise
            except (WorkflowFailureError, RuntimeError, ValueError):
                return None
            task, synthesis = start.task, concluded.synthesis
        return {
            "image_id": image_id,
            "task_id": task_of(execution.id)[1],
            "task": task,
            "synthesis": synthesis,
            "finished_at": closed_at.isoformat(),
        }


def _is_new(execution: WorkflowExecution, known: dict[str, str]) -> bool:
    finished_at = known.get(task_of(execution.id)[1], "")
    return finished_at < _closed_at(execution).isoformat(timespec="microseconds")


def _closed_at(execution: WorkflowExecution) -> datetime:
    return (execution.close_time or execution.start_time).astimezone(UTC)
