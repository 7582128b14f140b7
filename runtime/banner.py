"""What a worker says once it is up: where to look, who answers, what to type next."""

import asyncio
import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from temporalio.client import Client, WorkflowHandle, WorkflowQueryFailedError
from temporalio.service import RPCError

from activities.snapshots.places import newest_snapshot
from configuration import Settings
from connection.deployment import how_to_advance
from connection.image import ANSWER_WITHIN
from connection.places import PROJECT, SETTINGS, as_typed
from connection.server import DEFAULT_ADDRESS, target
from connection.version import VERSION
from connection.web_ui import inbox_url, workflow_url
from runtime.folders import Folders
from runtime.model_backend import RunningModel
from workflows.image_state import ImageState
from workflows.living_image import LivingImage


def show_image(
    client: Client,
    image_id: str,
    settings: Path,
    *,
    web_ui: str | None,
    answers: str,
    model: RunningModel | None,
    door: str,
    older: str,
) -> None:
    """The banner of `--dev`. Links and commands stay on one line each, to be clicked and copied whole.

    `answers`: the models that answer, in words. `door`: the URL of one, or nothing. `older`: a snapshot of
    another image of its name, or nothing.
    """
    address, namespace = target(client), client.namespace
    facts = {"Server": f"{address}, namespace {namespace}"}
    if web_ui is not None:
        facts["Web UI"] = workflow_url(web_ui, namespace, image_id)
        facts["Inbox"] = inbox_url(web_ui, namespace)
    if door:
        facts["Door"] = door
    facts["Model"] = answers or "not in this worker"
    if model and model.loading:
        facts[""] = "It runs inside this command, in place of Ollama; expect coarse answers."
        if not model.loading.done():
            facts[" "] = "It is still being fetched or loaded: what you ask now waits for it."
    console = _console()
    console.print(f"\n[bold]The living image {image_id} is awake.[/bold]\n")
    for name, fact in facts.items():
        console.print(f"  [dim]{name:<8}[/dim]{escape(fact)}")
    console.print("\nNext, in another terminal:\n")
    for command in _next_commands(address, settings):
        console.print(f"  [cyan]{escape(command)}[/cyan]")
    if older:
        console.print(
            "\nIt is new here, but an image of its name was saved. To bring that one back instead:\n"
        )
        restore = _starter_command(f"restore {as_typed(older)}", settings)
        console.print(f"  [cyan]{escape(restore)}[/cyan]")
    console.print("\nCtrl-C stops everything that was started here; the image goes on next time.\n")


def show_worker(client: Client, task_queue: str, role: str, door: str) -> None:
    """The banner of a plain worker."""
    where = f"task queue {task_queue}, namespace {client.namespace}, server {target(client)}"
    if door:
        _console().print(f"Door: {escape(door)}")
    _console().print(f"Worker ({role}): {escape(where)}. Ctrl-C stops it.")


def show_images(client: Client, folders: Folders, role: str) -> None:
    """The banner of a worker of many images."""
    names = [folders.hosted.get(image_id) for image_id in folders.image_ids()]
    number = len(names)
    which = f"{number:,} image{'s' * (number != 1)} of {as_typed(folders.root)}"
    where = f"task queue {folders.task_queue}, namespace {client.namespace}, server {target(client)}"
    lines = [f"Worker ({role}) of {escape(which)}: {escape(where)}."]
    if names and names[0] is not None:
        *commands, _, _ = _next_commands(target(client), names[0])
        lines += ["Ask one:", *(f"  [cyan]{escape(command)}[/cyan]" for command in commands)]
    _console().print("\n".join([*lines, "Ctrl-C stops it."]))


async def older_self(image: WorkflowHandle[LivingImage, ImageState], settings: Settings, base: Path) -> str:
    """The newest snapshot of an image of this name, if this one is newborn; else nothing. Its worker runs."""
    newest = await asyncio.to_thread(newest_snapshot, settings, base)
    if not newest:
        return ""
    try:
        state = await image.query(LivingImage.state, rpc_timeout=ANSWER_WITHIN)
    except (RPCError, WorkflowQueryFailedError):
        return ""  # one that cannot answer is not newborn
    return newest if state.is_newborn() else ""


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, emoji=False)


def _next_commands(address: str, settings: Path) -> list[str]:
    commands = [
        _starter_command('ask "Should a town plant trees or build shade roofs?" --follow', settings),
        _starter_command("status", settings),
        _starter_command("proposals", settings),
    ]
    if address.replace("localhost", "127.0.0.1") != DEFAULT_ADDRESS:
        commands.insert(0, f"export TEMPORAL_ADDRESS={shlex.quote(address)}")
    return commands


def _starter_command(arguments: str, settings: Path) -> str:
    which = "" if settings == SETTINGS else f" --settings {as_typed(settings)}"
    return f"{_python()} {as_typed(PROJECT / 'starter.py')} {arguments}{which}"


def _python() -> str:
    """How to type this interpreter: `python` where an activated environment finds it by that name."""
    found = shutil.which("python")
    if found is not None and Path(found).parent.samefile(Path(sys.executable).parent):
        return "python"
    return as_typed(Path(sys.executable))


def show_version(client: Client, current: str) -> None:
    """Of a pinned worker, whether its version is the one that goes on, and how a person lets it."""
    if current != VERSION:
        command = how_to_advance(client)
        print(
            f"Version {VERSION} waits: {current} is current. To have it go on:\n\n  {command}\n", flush=True
        )
