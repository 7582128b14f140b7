"""Tasks that were argued out before, whole: the image keeps excerpts, their histories the words."""

from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle, WorkflowHistoryEventFilterType
from temporalio.service import RPCError, RPCStatusCode

from messages.common import part
from messages.names import task_workflow_id
from messages.tasks import DialogueResult, RecordedTask, Task
from messages.trials import RecordedTasks

Start = TypeVar("Start", bound=BaseModel)

MOST_BYTES = 1_000_000
"""Of the results of all tasks together: a server takes no more than twice that as one answer."""


async def read_start(client: Client, dialogue: WorkflowHandle[Any, Any], start: type[Start]) -> Start:
    """What a workflow was started with. Raises RPCError, and ValueError where its history does not say so."""
    first = await anext(dialogue.fetch_history_events(page_size=1))
    if first.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
        raise ValueError("its history does not begin with its start")
    given = first.workflow_execution_started_event_attributes.input
    (read,) = await client.data_converter.decode(given.payloads, [start])
    assert isinstance(read, start)
    return read


class Recorded:
    """The recorded tasks of one server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn
    async def find_recorded(self, wanted: RecordedTasks) -> list[RecordedTask]:
        """The tasks of an image by their ids, in this order; without those whose history is gone."""
        found, size = [], 0
        for task_id in wanted.task_ids:
            dialogue = self._client.get_workflow_handle(task_workflow_id(wanted.image_id, task_id))
            try:
                task = await read_start(self._client, dialogue, Task)
                result = await self._read_result(dialogue)
            except ValueError:
                continue
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                continue
            size += len(result.model_dump_json().encode()) if result else 0
            found.append(RecordedTask(**part(Task, task), result=result if size <= MOST_BYTES else None))
        return found

    async def _read_result(self, dialogue: WorkflowHandle[Any, Any]) -> DialogueResult | None:
        """What a dialogue came to; None where it has not ended, not by itself, or cannot be read."""
        closing = WorkflowHistoryEventFilterType.CLOSE_EVENT
        last = await anext(dialogue.fetch_history_events(event_filter_type=closing), None)
        if last is None or last.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            return None
        given = last.workflow_execution_completed_event_attributes.result
        try:
            (result,) = await self._client.data_converter.decode(given.payloads, [DialogueResult])
        except ValueError:
            return None
        assert isinstance(result, DialogueResult)
        return result
