"""An image whose workflow tasks fail, however often they are tried again, and the way out."""

import re
from collections.abc import AsyncIterator

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowExecutionDescription

from connection.image import ANSWER_WITHIN
from desk.doctor.finding import Finding
from messages.common import excerpt

MOST_ATTEMPTS = 2
"""A workflow task may fail now and then, as when it is taken again after a query; not more often in a row."""

# What the SDK says where a history and the program differ: from which event on.
_DIFFERS_AT = re.compile(r"TMPRL1100.*HistoryEvent\(id: (\d+)", re.DOTALL)


async def stuck(client: Client, image: WorkflowExecutionDescription) -> Finding | None:
    """Why an image does not go on although it lives, and what to do; None where nothing is wrong."""
    attempts = image.raw_description.pending_workflow_task.attempt
    if attempts <= MOST_ATTEMPTS:
        return None
    reason, completed = "", list[int]()
    async for event in _newest_first(client, image):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED and not reason:
            reason = event.workflow_task_failed_event_attributes.failure.message
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            completed.append(event.event_id)
        if reason and (back := _last_that_holds(reason, completed)) is not None:
            break
    else:
        back = None
    if not reason:  # nobody has taken it in time, which the task queues tell
        return None
    return Finding(
        check="image",
        state="broken",
        figure=f"{image.id!r} does not go on, after {attempts} attempts: {excerpt(reason)}",
        advice=_way_out(client, image.id, back),
    )


def _last_that_holds(reason: str, completed: list[int]) -> int | None:
    """The end of the last workflow task before the one whose deeds the program would not do again."""
    if (differs := _DIFFERS_AT.search(reason)) is None:
        return None
    before = [event_id for event_id in completed if event_id < int(differs[1])]
    return before[1] if len(before) > 1 else None


def _way_out(client: Client, image_id: str, back: int | None) -> str:
    advice = "Restart its worker, in the version before if it was brought to another one lately"
    if back is None:
        return f"{advice}; the worker's log says more"
    reset = (
        f"temporal workflow reset --namespace {client.namespace} -w {image_id} --event-id {back} "
        "--reason 'it does not go on'"
    )
    return f"{advice}; if that does not help, let it go on from where its history holds: {reset}"


async def _newest_first(client: Client, image: WorkflowExecutionDescription) -> AsyncIterator[HistoryEvent]:
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=image.id, run_id=image.run_id),
    )
    while True:
        page = await client.workflow_service.get_workflow_execution_history_reverse(
            request, timeout=ANSWER_WITHIN
        )
        for event in page.history.events:
            yield event
        if not page.next_page_token:
            return
        request.next_page_token = page.next_page_token
