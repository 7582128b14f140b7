"""Whether workers are there, which versions they run, and how the image that they host is.

A poller names its deployment, which is where our workers put the project's version. The SDK's version, and
that a worker is stopping, stand in the heartbeats of workers.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus
from temporalio.api.taskqueue.v1 import PollerInfo
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import ListWorkersRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from connection.image import ANSWER_WITHIN
from connection.plain_words import NOBODY_ANSWERS
from connection.pollers import ACTIVITIES, WORKFLOWS, pollers_of
from connection.problems import Problem
from connection.version import NAME, VERSION
from desk.doctor.finding import Absent, Finding, Patient, broken
from desk.doctor.stuck import stuck
from messages.image import ImageStatus
from messages.names import files_queue
from workflows.ledger import why_not_there

SDK_VERSION = version("temporalio")
# The server answers a poll after 60 s at the latest, and the worker polls again.
POLLED_WITHIN = timedelta(seconds=70)
STOPPING = (WorkerStatus.WORKER_STATUS_SHUTTING_DOWN, WorkerStatus.WORKER_STATUS_SHUTDOWN)


async def task_queues(patient: Patient) -> list[Finding]:
    queue = await patient.queue()
    thinking = "Tasks wait until one does. Start it where a model is: python worker.py"
    files = (
        "No proposal can be carried out. Start it where the settings file is: python worker.py --role files"
    )
    return [
        await _task_queue(patient, queue, (WORKFLOWS, ACTIVITIES), thinking),
        await _task_queue(patient, files_queue(queue), (ACTIVITIES,), files),
    ]


async def _task_queue(
    patient: Patient, queue: str, kinds: tuple[TaskQueueType.ValueType, ...], advice: str
) -> Finding:
    polled = [await _pollers(patient, queue, kind) for kind in kinds]
    check = f"task queue {queue}"
    if not all(polled):
        return Finding(check=check, state="broken", figure="no worker polls it", advice=advice)
    everybody = sorted({poller.identity for pollers in polled for poller in pollers})
    many = f"{len(everybody)} workers poll" if len(everybody) > 1 else "1 worker polls"
    return Finding(check=check, figure=f"{many} it: {', '.join(everybody)}")


async def _pollers(patient: Patient, queue: str, kind: TaskQueueType.ValueType) -> list[PollerInfo]:
    """Who polls a task queue now. A worker that was killed counts until its last poll would have ended."""
    pollers = await pollers_of(patient.client, queue, kind)
    if not pollers:
        return []
    server_now = datetime.now(UTC) + (await asyncio.shield(patient.offset)).ahead
    gone = _gone(await _heartbeats(patient.client, queue))
    return [
        poller
        for poller in pollers
        if poller.identity not in gone
        and server_now - poller.last_access_time.ToDatetime(UTC) <= POLLED_WITHIN
    ]


async def _heartbeats(client: Client, queue: str) -> list[WorkerHeartbeat]:
    """What the workers of a task queue last told of themselves; nothing from a server that does not ask."""
    try:
        listed = await client.workflow_service.list_workers(
            ListWorkersRequest(namespace=client.namespace, page_size=100, query=f'TaskQueue="{queue}"')
        )
    except RPCError as error:
        if error.status in (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.INVALID_ARGUMENT):
            return []
        raise
    return [worker.worker_heartbeat for worker in listed.workers_info]


def _gone(beats: list[WorkerHeartbeat]) -> set[str]:
    """The identities whose workers have all said that they stop; a process may have begun another since."""
    running = {beat.worker_identity for beat in beats if beat.status not in STOPPING}
    return {beat.worker_identity for beat in beats} - running


async def versions(patient: Patient) -> list[Finding]:
    projects: dict[str, set[str]] = {}
    sdks: dict[str, set[str]] = {}
    queue = await patient.queue()
    for name in (queue, files_queue(queue)):
        workers = await _pollers(patient, name, ACTIVITIES)
        for worker in workers:
            deployment = worker.deployment_options
            told = deployment.build_id if deployment.deployment_name == NAME else ""
            projects.setdefault(told, set()).add(worker.identity)
        identities = {worker.identity for worker in workers}
        for beat in await _heartbeats(patient.client, name):
            if beat.worker_identity in identities and beat.status not in STOPPING:
                sdks.setdefault(beat.sdk_version, set()).add(beat.worker_identity)
    if not projects:
        raise Absent("no worker")
    return [
        _compared("version", VERSION, "runs", projects, "Bring both to the same version, `make setup` there"),
        _compared("SDK", SDK_VERSION, "has", sdks, "Run `make setup` where the older one is"),
    ]


def _compared(check: str, here: str, verb: str, told: dict[str, set[str]], advice: str) -> Finding:
    """Whether what is here runs in every worker. `told`: the workers by their versions, "" if untold."""
    if not told:
        return Finding(check=check, figure=f"{here} here; no worker has told its own yet")
    others = {version or "one untold": who for version, who in told.items() if version != here}
    if not others:
        return Finding(check=check, figure=f"{here}, here and in every worker")
    figure = "; ".join(f"{', '.join(sorted(who))} {verb} {version}" for version, who in others.items())
    return Finding(
        check=check,
        state="warning",
        figure=f"here it is {here}, but {figure}",
        advice=f"{advice}, and start the worker again",
    )


async def living_image(patient: Patient) -> list[Finding]:
    system = patient.settings.system
    queue = await _home(patient)
    if reason := why_not_there(queue, system.task_queue):
        return [broken("image", Problem(reason))]
    image = patient.client.get_workflow_handle(system.image_id)
    if finding := await stuck(patient.client, await image.describe(rpc_timeout=ANSWER_WITHIN)):
        return [finding]
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
