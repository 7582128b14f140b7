"""Fills the memory from the server: dialogues that completed since the store last looked."""

import asyncio
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
MOST_LISTED = 1_000
"""The newest tasks that a recall looks through; `memory rebuild` looks through all."""
MOST_READ = 50
"""The histories that one recall reads, each two calls of the server. The next recall reads on."""
AT_ONCE = 10
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

    async def catch_up(
        self,
        store: MemoryStore,
        image_id: str,
        listed: int | None = MOST_LISTED,
        read: int | None = MOST_READ,
        ended: Iterable[str] = (),
    ) -> int:
        """Remember what completed since the last look; return how many tasks are new to the store.

        What does not fit into `listed` and `read` (None: all) is left for the next time. `ended`: tasks that
        are known to have ended, even if the server does not list them yet. Raises RPCError, and what
        MemoryStore raises; what was read before stays remembered.
        """
        until = await asyncio.to_thread(store.looked_until, self._source, image_id)
        held = await asyncio.to_thread(store.task_ids, image_id)
        closed = [each async for each in self._closed(image_id, until, listed)]
        names = {each.id for each in closed}
        for task_id in ended:
            workflow_id = f"{image_id}/task/{task_id}"
            if task_id not in held and workflow_id not in names:
                closed += await self._not_listed(workflow_id)
        unread = [each for each in closed if _is_new(each, held)]
        now = unread[:read]
        new = 0
        for start in range(0, len(now), AT_ONCE):
            entries = await asyncio.gather(
                *(self._entry(image_id, each) for each in now[start : start + AT_ONCE])
            )
            new += await asyncio.to_thread(store.add, [entry for entry in entries if entry])
        if len(now) == len(unread) and closed:
            latest = max(_closed_at(each) for each in closed)
            await asyncio.to_thread(
                store.set_looked_until, self._source, image_id, (latest - OVERLAP).isoformat()
            )
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
            concluded = await dialogue.result(follow_runs=False)
            first = await anext(dialogue.fetch_history_events(page_size=1))
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


def _is_new(execution: WorkflowExecution, held: dict[str, str]) -> bool:
    finished_at = held.get(execution.id.rpartition("/")[2], "")
    return finished_at < _closed_at(execution).isoformat(timespec="microseconds")


def _closed_at(execution: WorkflowExecution) -> datetime:
    return (execution.close_time or execution.start_time).astimezone(UTC)
