"""How a living image comes to life."""

import logging
from datetime import timedelta
from typing import Literal

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from configuration import Settings
from connection.problems import Problem
from connection.server import if_there
from workflows.image_state import ImageStart, ImageState
from workflows.ledger import why_not_there
from workflows.living_image import LivingImage

log = logging.getLogger(__name__)

Life = Literal["begun", "lives", "ended"]
"""How an image was found: it began just now, it lives already, or it has lived and ended."""

ANSWER_WITHIN = timedelta(seconds=10)


async def start_image(
    client: Client, settings: Settings, model_backend: str = ""
) -> WorkflowHandle[LivingImage, ImageState]:
    """Start the image that the settings name, or find it. Raises Problem if it is on another task queue."""
    await check_queue(client, settings)
    start = ImageStart(settings=settings, model_backend=model_backend)
    return await _start(client, start, WorkflowIDConflictPolicy.USE_EXISTING)


async def wake_image(client: Client, settings: Settings, model_backend: str = "") -> Life:
    """Start an image where none of its name has ever been.

    Raises Problem if it lives on another task queue, and RPCError. One that has ended, as by `retire`, is
    left so: nobody but a person begins a new life under its name.
    """
    start = ImageStart(settings=settings, model_backend=model_backend)
    try:
        await _start(client, start, WorkflowIDConflictPolicy.FAIL, WorkflowIDReusePolicy.REJECT_DUPLICATE)
    except WorkflowAlreadyStartedError as known:
        found = await client.get_workflow_handle(known.workflow_id).describe(rpc_timeout=ANSWER_WITHIN)
        if found.status is not WorkflowExecutionStatus.RUNNING:
            return "ended"
        if reason := why_not_there(found.task_queue, settings.system.task_queue):
            raise Problem(reason) from None
        return "lives"
    return "begun"


async def own_queue(client: Client, image_id: str) -> str | None:
    """The task queue that a living image is on, whatever settings.toml says by now; None: none lives."""
    image = await if_there(client.get_workflow_handle(image_id).describe(rpc_timeout=ANSWER_WITHIN))
    return image.task_queue if image and image.status is WorkflowExecutionStatus.RUNNING else None


async def check_queue(client: Client, settings: Settings) -> None:
    """Raises Problem where a worker with these settings would wait on another queue than its image."""
    system = settings.system
    try:
        queue = await own_queue(client, system.image_id)
    except RPCError as error:  # not every client may look at workflows
        log.debug("Where %s lives is not known: %r", system.image_id, error)
        return
    if queue is not None and (reason := why_not_there(queue, system.task_queue)):
        raise Problem(reason)


async def restore_image(client: Client, state: ImageState) -> WorkflowHandle[LivingImage, ImageState]:
    """Start an image from a state. Raises WorkflowAlreadyStartedError where one of its name lives."""
    start = ImageStart(settings=state.settings, state=state)
    return await _start(client, start, WorkflowIDConflictPolicy.FAIL)


async def _start(
    client: Client,
    start: ImageStart,
    where_one_lives: WorkflowIDConflictPolicy,
    where_one_has_lived: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE,
) -> WorkflowHandle[LivingImage, ImageState]:
    system = start.settings.system
    return await client.start_workflow(
        LivingImage.run,
        start,
        id=system.image_id,
        task_queue=system.task_queue,
        id_conflict_policy=where_one_lives,
        id_reuse_policy=where_one_has_lived,
        static_summary=f"The living image {system.image_id}",
    )
