"""How a living image comes to life."""

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy

from configuration import Settings
from workflows.image_state import ImageStart, ImageState
from workflows.living_image import LivingImage


async def start_image(
    client: Client, settings: Settings, model_backend: str = ""
) -> WorkflowHandle[LivingImage, ImageState]:
    """Start the image that the settings name, or find it where it lives already, whatever its settings."""
    return await client.start_workflow(
        LivingImage.run,
        ImageStart(settings=settings, model_backend=model_backend),
        id=settings.system.image_id,
        task_queue=settings.system.task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"The living image {settings.system.image_id}",
    )


async def restore_image(client: Client, state: ImageState) -> WorkflowHandle[LivingImage, ImageState]:
    """Start an image from a state. Raises WorkflowAlreadyStartedError where one of its name lives."""
    return await client.start_workflow(
        LivingImage.run,
        ImageStart(settings=state.settings, state=state),
        id=state.image_id,
        task_queue=state.settings.system.task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        static_summary=f"The living image {state.image_id}",
    )
