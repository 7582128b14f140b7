"""What a history says of its activities: what each was given, and what it came to."""

from collections.abc import AsyncIterator, Container
from typing import Any

from temporalio.api.enums.v1 import EventType


async def carried_out(events: AsyncIterator[Any], names: Container[str]) -> AsyncIterator[tuple[Any, Any]]:
    """The payloads of each activity of these names that was carried out, and of its result."""
    given: dict[int, Any] = {}
    async for event in events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            scheduled = event.activity_task_scheduled_event_attributes
            if scheduled.activity_type.name in names:
                given[event.event_id] = scheduled.input.payloads
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            completed = event.activity_task_completed_event_attributes
            if completed.scheduled_event_id in given:
                yield given.pop(completed.scheduled_event_id), completed.result.payloads
