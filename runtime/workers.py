"""The Temporal workers of this project: one for thinking, one for the files of one machine."""

import warnings
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from activities.children import Children
from activities.hosted import Files, Hosted
from activities.looking import look_at_change
from activities.memory.foresight import Foresight
from activities.memory.recall import Memory
from activities.memory.store import MemoryStore
from activities.notifying import Notifier
from activities.personas import Personas
from activities.prompts import PROMPTS
from activities.proposer import propose_amendment
from activities.recorded import Recorded
from activities.settings import SettingsFiles
from activities.snapshots.writing import Snapshots
from connection.places import STATE_DIR, memory_file
from connection.version import NAME, VERSION
from messages.names import files_queue
from runtime.model_backend import RunningModel
from runtime.workflow_runner import PatientRunner
from workflows.dialogue import Dialogue
from workflows.inquiry import Inquiry
from workflows.living_image import LivingImage
from workflows.philosophical_loop import PhilosophicalLoop

WORKFLOWS: Sequence[type] = (LivingImage, Dialogue, PhilosophicalLoop, Inquiry)

# After a worker was killed, its workflow tasks wait this long before another worker may have them.
STICKY_TIMEOUT = timedelta(seconds=1)
# Heartbeats reach the server at least this often, so that its view of a call is never older.
HEARTBEAT_INTERVAL = timedelta(seconds=1)
# A file is written in milliseconds; a model call that is not done by then starts over with the next worker.
GRACE = timedelta(seconds=3)
# Files are handled one after the other anyway, under a lock.
FILE_THREADS = 4
CACHED = 1000
"""Workflows that are kept in memory; the others are read from their histories when something happens."""
FEW_CACHED, FEW_AT_ONCE = 48, 16
"""The same for a worker of many images, however many. What is kept takes memory until others push it out,
whether its image ever does anything again or not; see docs/many.md."""
MANY_ORDERS = 1000
"""Of files, for many images: their snapshots wait for each other here, and in nobody else's way."""


def deployment(pinned: bool) -> WorkerDeploymentConfig:
    """Which version this is, which the server shows.

    Pinned, what began with a version ends with it; otherwise any worker may take up anything.
    """
    version = WorkerDeploymentVersion(deployment_name=NAME, build_id=VERSION)
    behavior = VersioningBehavior.PINNED if pinned else VersioningBehavior.UNSPECIFIED
    return WorkerDeploymentConfig(version, use_worker_versioning=pinned, default_versioning_behavior=behavior)


def compute_worker(
    client: Client,
    task_queue: str,
    personas: Personas,
    memory: Memory,
    *,
    pinned: bool = False,
    max_cached_workflows: int = CACHED,
    max_at_once: int | None = None,
) -> Worker:
    """Workflows, persona calls, memory and the optimizer, on `<task_queue>`; needs no settings file."""
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        workflow_runner=PatientRunner(),
        activities=[
            personas.plan,
            personas.speak,
            personas.judge_dissonance,
            personas.imagine_goals,
            personas.score_goals,
            personas.create_candidates,
            personas.compare_answers,
            Recorded(client).find_recorded,
            memory.recall,
            propose_amendment,
            look_at_change,
            Children(client).find_closed,
        ],
        interceptors=[Foresight(memory)],
        max_cached_workflows=max_cached_workflows,
        max_concurrent_workflow_tasks=max_at_once,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        max_heartbeat_throttle_interval=HEARTBEAT_INTERVAL,
        graceful_shutdown_timeout=GRACE,
        deployment_config=deployment(pinned),
    )


def files_worker(
    client: Client, task_queue: str, files: Files, memory: MemoryStore, pinned: bool = False
) -> Worker:
    """What touches the files of this machine, on `<task_queue>-files`; its memory goes into snapshots."""
    settings = SettingsFiles(files)
    with warnings.catch_warnings():
        # Snapshots take no thread, and there are fewer threads than orders.
        warnings.filterwarnings("ignore", "Worker max_concurrent_activities")
        return Worker(
            client,
            task_queue=files_queue(task_queue),
            activities=[
                settings.read_settings,
                settings.preview_rewrite,
                settings.rewrite_settings,
                Notifier(files).notify_person,
                Snapshots(client, files, memory).write_snapshot,
            ],
            activity_executor=ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="files"),
            max_concurrent_activities=MANY_ORDERS if isinstance(files, Hosted) else FILE_THREADS,
            graceful_shutdown_timeout=GRACE,
            deployment_config=deployment(pinned),
        )


@asynccontextmanager
async def running_workers(
    client: Client,
    task_queue: str,
    *,
    model: RunningModel | None = None,
    settings: Files | None = None,
    state_dir: Path = STATE_DIR,
    prompts: Path = PROMPTS,
    max_cached_workflows: int = CACHED,
    pinned: bool = False,
) -> AsyncIterator[Personas | None]:
    """The workers of one process, drained on exit: compute if it has a model, files if it has a file.

    With the files of many images it caches few workflows. What is given is who speaks in it, if anybody does.
    """
    many = isinstance(settings, Hosted)
    cached, at_once = (FEW_CACHED, FEW_AT_ONCE) if many else (max_cached_workflows, None)
    memory = MemoryStore(memory_file(state_dir))
    personas = None
    async with AsyncExitStack() as stack:
        stack.callback(memory.close)
        if settings is not None:
            await stack.enter_async_context(files_worker(client, task_queue, settings, memory, pinned))
        if model is not None:
            personas = Personas(model.backend, prompts, model.loading, VERSION)
            remembering = Memory(client, model.backend, memory.in_a_hurry())
            stack.push_async_callback(personas.close)
            stack.push_async_callback(remembering.close)
            await stack.enter_async_context(
                compute_worker(
                    client,
                    task_queue,
                    personas,
                    remembering,
                    pinned=pinned,
                    max_cached_workflows=cached,
                    max_at_once=at_once,
                )
            )
        yield personas
