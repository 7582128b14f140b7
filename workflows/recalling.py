"""What is recalled of earlier tasks. Memory helps where it can; no task fails for want of it."""

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception
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
    except FailureError as error:
        # Where a local activity is replayed, its failure comes alone, not as the cause of an ActivityError.
        if is_cancelled_exception(error):
            raise
        cause = error.cause if isinstance(error, ActivityError) else error
        if isinstance(cause, ActivityTimeout):
            return Recalled(means="nothing: the memory took longer than a second")
        return Recalled(means=f"nothing: {excerpt(failure_text(cause))}")
