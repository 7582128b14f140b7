"""Fills the memory from the server: dialogues that completed since the store last looked."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.memory.store import MemoryStore

OVERLAP = timedelta(minutes=10)
"""How far a look reaches back behind the last one: the server's lists lag behind its histories by seconds."""
SHORT_OVERLAP = timedelta(seconds=10)
"""How far it reaches back when one that reached back far was less than `FAR_EVERY_SECONDS` ago."""
FAR_EVERY_SECONDS = 60.0
MOST_LISTED = 1_000
"""The newest tasks that a recall looks through; `memory rebuild` looks through all."""
AT_ONCE = 10
"""Histories that are read at the same time, each two calls of the server, and kept together."""
ENDS_WITHIN_SECONDS = 5.0
"""For a dialogue that has told the image its end, and now only has to complete."""


class _Asked(BaseModel):
    """What memory needs of a DialogueStart; of any version, so it is not read as one."""

    task_id: str
    task: str


class _Concluded(BaseModel):
    """What memory needs of a DialogueResult."""

    synthesis: str


class Histories:
    """The finished dialogues of one server."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._source = f"{client.service_client.config.target_host} {client.namespace}"
        self._looked_far: dict[str, float] = {}

    async def catch_up(
        self,
        store: MemoryStore,
        image_id: str,
        listed: int | None = MOST_LISTED,
        ended: Iterable[str] = (),
    ) -> int:
        """Remember what completed since the last look; return how many tasks are new to the store.

        What does not fit into `listed` (None: all) is left out. `ended`: tasks that are known to have ended,
        even if the server does not list them yet. Raises RPCError, and what MemoryStore raises; what was read
        before stays remembered, and the next look goes on from there.
        """
        until = await store.in_thread(store.looked_until, self._source, image_id)
        far = time.monotonic() - self._looked_far.get(image_id, -math.inf) > FAR_EVERY_SECONDS
        closed = [each async for each in self._closed(image_id, _since(until, far), listed)]
        names = {each.id for each in closed}
        known = await store.in_thread(store.held, image_id, [*map(_task_id, names), *ended])
        for task_id in ended:
            workflow_id = f"{image_id}/task/{task_id}"
            if task_id not in known and workflow_id not in names:
                closed += await self._not_listed(workflow_id)
        unread = [each for each in closed if _is_new(each, known)]
        new = 0
        for start in range(0, len(unread), AT_ONCE):
            entries = await asyncio.gather(
                *(self._entry(image_id, each) for each in unread[start : start + AT_ONCE])
            )
            new += await store.in_thread(store.add, [entry for entry in entries if entry])
        if far:
            self._looked_far[image_id] = time.monotonic()
        latest = max(map(_closed_at, closed), default=None)
        if latest and (next_time := (latest - OVERLAP).isoformat()) > until:
            await store.in_thread(store.set_looked_until, self._source, image_id, next_time)
        return new

    async def _closed(self, image_id: str, until: str, most: int | None) -> AsyncIterator[WorkflowExecution]:
        name = image_id.replace("\\", "\\\\").replace("'", "\\'")
        query = (
            "WorkflowType = 'Dialogue' AND ExecutionStatus = 'Completed' "
            f"AND WorkflowId STARTS_WITH '{name}/task/'"
        )
        if until:
            query += f" AND CloseTime >= '{until}'"
        async for execution in self._client.list_workflows(query, limit=most):
            yield execution

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
        dialogue = self._client.get_workflow_handle(
            execution.id, run_id=execution.run_id, result_type=_Concluded
        )
        try:
            concluded, first = await asyncio.gather(
                dialogue.result(follow_runs=False), anext(dialogue.fetch_history_events(page_size=1))
            )
            if first.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                return None
            given = first.workflow_execution_started_event_attributes.input
            (asked,) = await self._client.data_converter.decode(given.payloads, [_Asked])
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        except (WorkflowFailureError, RuntimeError, ValueError):
            return None
        return {
            "image_id": image_id,
            "task_id": asked.task_id,
            "task": asked.task,
            "synthesis": concluded.synthesis,
            "finished_at": _closed_at(execution).isoformat(),
        }


def _since(until: str, far: bool) -> str:
    """From when on to look, where the last look has told `until` when."""
    return (
        until if far or not until else (datetime.fromisoformat(until) + OVERLAP - SHORT_OVERLAP).isoformat()
    )


def _task_id(workflow_id: str) -> str:
    return workflow_id.rpartition("/")[2]


def _is_new(execution: WorkflowExecution, known: dict[str, str]) -> bool:
    finished_at = known.get(_task_id(execution.id), "")
    return finished_at < _closed_at(execution).isoformat(timespec="microseconds")


def _closed_at(execution: WorkflowExecution) -> datetime:
    return (execution.close_time or execution.start_time).astimezone(UTC)
