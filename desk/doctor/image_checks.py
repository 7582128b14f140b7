"""Whether the image lives where its settings file says, and by what the file says."""

import asyncio

from temporalio.service import RPCError

from connection.image import ANSWER_WITHIN
from connection.problems import Problem
from desk.doctor.finding import Absent, Finding, Patient, broken
from desk.plain_words import NOBODY_ANSWERS
from messages.image import ImageStatus
from workflows.ledger import why_not_there


async def living_image(patient: Patient) -> list[Finding]:
    system = patient.settings.system
    queue = await _home(patient)
    if reason := why_not_there(queue, system.task_queue):
        return [broken("image", Problem(reason))]
    return [Finding(check="image", figure=f"{system.image_id!r} lives on task queue {queue}")]


async def adopted_settings(patient: Patient) -> list[Finding]:
    """Whether the image goes by what the file says now: an edit may not have been noticed, or was refused."""
    on_file, image = patient.settings.digest(), await _status(patient)
    figure = f"the image goes by revision {image.revision}, digest {image.digest}"
    same = image.digest == on_file
    figure += f", as {patient.path} says" if same else f"; {patient.path} has digest {on_file}"
    if same and not image.settings_problem:
        return [Finding(check="adopted", figure=figure)]
    if image.settings_problem:
        figure += f"; what it read last was refused: {image.settings_problem}"
    advice = "Let it read its worker's settings file again: python starter.py reload"
    if not same:
        advice += "; if that changes nothing, its worker reads another file than this one"
    return [Finding(check="adopted", state="warning", figure=figure, advice=advice)]


async def _home(patient: Patient) -> str:
    queue = await asyncio.shield(patient.home)
    if queue is None:
        raise Absent("no living image")
    return queue


async def _status(patient: Patient) -> ImageStatus:
    await _home(patient)
    image = patient.client.get_workflow_handle(patient.settings.system.image_id)
    try:
        status: ImageStatus = await image.query("status", result_type=ImageStatus, rpc_timeout=ANSWER_WITHIN)
    except RPCError as error:
        if error.status in NOBODY_ANSWERS:
            raise Absent("no worker") from None
        raise
    return status
