"""How a living image comes to life."""

import asyncio
import logging
from pathlib import Path

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy

from activities.snapshot_places import Place
from configuration import Settings
from workflows.image_state import ImageStart, ImageState
from workflows.living_image import LivingImage

log = logging.getLogger(__name__)


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


async def older_self(image: WorkflowHandle[LivingImage, ImageState], settings: Settings, base: Path) -> str:
    """The newest snapshot of an image of this name, if this one is newborn; else nothing.

    `base` is the folder of its settings file. It is only an offer, so nothing that goes wrong here matters.
    """
    system = settings.system
    try:
        place = Place(system.image_path, base, system.image_id)
        kept = await asyncio.to_thread(place.all)
        if kept and (await image.query(LivingImage.state)).is_newborn():
            return place.address(kept[0].path)
    except Exception as error:  # every file system has errors of its own
        log.debug("Whether there are snapshots of %s is not known: %r", system.image_id, error)
    return ""


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
