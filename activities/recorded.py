"""Tasks that were argued out before, whole: the image keeps excerpts, their histories the words."""

from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from messages.names import task_workflow_id
from messages.tasks import Task
from messages.trials import RecordedTasks

Start = TypeVar("Start", bound=BaseModel)


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
    async def find_recorded(self, wanted: RecordedTasks) -> list[Task]:
        """The tasks of an image by their ids, in this order; without those whose history is gone."""
        found = []
        for task_id in wanted.task_ids:
            dialogue = self._client.get_workflow_handle(task_workflow_id(wanted.image_id, task_id))
            try:
                found.append(await read_start(self._client, dialogue, Task))
            except ValueError:
                continue
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
        return found
