"""The commands for an image's life: its tasks, its proposals, what it goes by."""

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from connection.places import as_typed
from connection.problems import Problem
from desk import rendering
from desk.app import Csv, Json, Why, Yes, command, present, reading, request, say, why
from desk.deciding import confirm

if TYPE_CHECKING:
    from desk.client import Desk


def read_duration(text: str) -> timedelta:
    from pydantic import TypeAdapter, ValidationError

    from configuration import Duration

    try:
        return TypeAdapter[timedelta](Duration).validate_python(text)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


@command
async def start(*, desk: "Desk") -> None:
    """Bring the image to life, unless it lives already."""
    from activities.snapshots.places import newest_snapshot
    from desk.which import read_settings

    if not await desk.start():
        lives = f"The living image {desk.image_id!r} lives already at {desk.server}."
        rendering.out.print(rendering.words(lives))
        return
    rendering.out.print(rendering.words(f"The living image {desk.image_id!r} was started at {desk.server}."))
    path, values = read_settings(desk.settings)
    if older := newest_snapshot(values, path.parent):
        command_line = f"python starter.py restore {as_typed(older)}"
        offer = f"An image of its name was saved. To go on with that one: {command_line}"
        rendering.out.print(rendering.whole(offer), crop=False)


@command
async def ask(
    task: Annotated[
        str | None,
        typer.Argument(help="What to argue out; - reads it from stdin. Without it, --task-id is waited for."),
    ] = None,
    *,
    task_id: Annotated[
        str | None, typer.Option("--task-id", metavar="ID", help="Its name; the same name is the same task.")
    ] = None,
    task_type: Annotated[
        str, typer.Option("--type", metavar="T", help="What kind of task it is, in a word of your own.")
    ] = "question",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show what is said as it comes.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the result.")] = True,
    timeout: Annotated[
        timedelta | None,
        typer.Option(metavar="DURATION", parser=read_duration, help="Wait no longer than this, such as 1h."),
    ] = None,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Give the image a task and wait for what the personas make of it."""
    from desk.waiting import TaskWatch
    from messages.requests import SubmitTask

    if task is not None:
        if task == "-":
            task = sys.stdin.buffer.read().decode(errors="replace")
        submitted = request(SubmitTask, task=task.strip(), task_id=task_id, task_type=task_type)
        receipt = await desk.submit(submitted)
        task_id = receipt.task_id
        if not wait:
            place = f", place {receipt.position} in the queue" if receipt.position else ""
            present(receipt, as_json, say(f"The image has taken task {task_id}{place}."))
            return
    if task_id is None:
        raise Problem('Say what to argue out: python starter.py ask "your question"')
    console = rendering.out if follow and not as_json else rendering.err
    result = await TaskWatch(desk, task_id, console, follow).result(timeout)
    present(result, as_json, lambda: rendering.result(result))


@command
async def status(*, as_json: Json = False, desk: "Desk") -> None:
    """How the image is."""
    from desk import verification_rendering

    ended, now, inbox = await desk.ended(), await desk.status(), desk.inbox
    verified = await desk.verification() if now.verification else None
    pinned = verified.changes if verified and verified.pinned else []
    value = {
        **now.model_dump(mode="json"),
        "workflow": ended or "running",
        "inbox": inbox,
        "pinned": pinned,
    }
    alarms = [verification_rendering.pinned(verified)] if verified and pinned else []
    present(value, as_json, lambda: rendering.status(now, ended, inbox, *alarms))


reading("tasks", "The recent tasks: finished, running, queued.", lambda desk: desk.tasks(), rendering.tasks)


@command
async def logs(*, csv: Csv = None, as_json: Json = False, desk: "Desk") -> None:
    """The performance logs of the present window; in CSV a row for each, with a column for each setting."""
    window = await desk.logs()
    if csv is None:
        present(window, as_json, lambda: rendering.logs(window))
        return
    from desk.tables import log_table, save_table

    save_table(csv, log_table(window), as_json)


reading(
    "amendments",
    "Every change of the settings, with its verdict where it was verified, and every proposal that came to "
    "nothing, oldest first.",
    lambda desk: desk.amendments(),
    rendering.amendments,
)


@command
async def reload(*, as_json: Json = False, desk: "Desk") -> None:
    """Make the image read settings.toml again."""
    receipt = await desk.reload()
    news = "took over your edit" if receipt.changed else "found no edit"
    sentence = f"The image {news}: revision {receipt.revision}, digest {receipt.digest}."
    present(receipt, as_json, say(sentence))


@command
async def pause(reason: Why = "", *, as_json: Json = False, desk: "Desk") -> None:
    """Start no more tasks; running ones go on."""
    now = await desk.pause(why(reason))
    present(now, as_json, say(f"{now.image_id} is {now.phase}: {now.running} running, {now.queued} queued."))


@command
async def resume(reason: Why = "", *, as_json: Json = False, desk: "Desk") -> None:
    """Start tasks again."""
    now = await desk.resume(why(reason))
    present(now, as_json, say(f"{now.image_id} is {now.phase}: {now.running} running, {now.queued} queued."))


@command
async def retire(
    *,
    yes: Yes = False,
    reason: Why = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for its last running tasks.")] = True,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """End the image for good. Queued tasks are dropped, running ones finish."""
    now = await desk.status()
    if not yes:
        confirm(f"Retire {now.image_id} for good, dropping {now.queued} queued tasks?", "retire")
    now = await desk.retire(why(reason))
    if wait:
        with rendering.err.status(f"{now.image_id} finishes its running tasks"):
            await desk.until_ended()
            now = await desk.status()
    present(now, as_json, say(f"{now.image_id} is {now.phase}: {now.running} running."))
