"""What is recalled of earlier tasks. Memory helps where it can; no task fails for want of it."""

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception
from temporalio.exceptions import TimeoutError as ActivityTimeout

with workflow.unsafe.imports_passed_through():
    from configuration import Settings
    from messages.common import excerpt
    from messages.memory import Recalled, RecallRequest
    from messages.tasks import Task
    from workflows.messaging import failure_text
    from workflows.orders import thinking


async def recall(settings: Settings, image_id: str, task: Task, most: int) -> Recalled:
    """At most so many earlier tasks that bear on this one, and how they were found or why not."""
    wanted = RecallRequest(
        image_id=image_id,
        task_id=task.task_id,
        asked_at=task.submitted_at,
        text=task.task,
        host=settings.models.host,
        model=settings.models.embedding,
        most=most,
    )
    try:
        return await thinking.recall(wanted)
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        if isinstance(error.cause, ActivityTimeout):
            return Recalled(means="nothing: the memory took longer than a second")
        return Recalled(means=f"nothing: {excerpt(failure_text(error))}")
