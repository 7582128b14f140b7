"""The commands for an image's life: its tasks, its proposals, what it goes by."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connection.places import as_typed
from connection.problems import Problem
from desk import rendering
from desk.app import By, Comment, Json, Yes, command, present, reading, request, say
from desk.deciding import confirm, decide, find_proposal, login_name, read_changes
from desk.problems import NO

if TYPE_CHECKING:
    from desk.client import Desk
    from messages.loops import ProposalView
    from messages.requests import Decision, Reason

Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the event.")]
Loop = Annotated[
    str | None,
    typer.Argument(metavar="[LOOP]", help="3, loop/3 or the full id; else the only pending one."),
]


def read_duration(text: str) -> timedelta:
    from pydantic import TypeAdapter, ValidationError

    from configuration import Duration

    try:
        return TypeAdapter[timedelta](Duration).validate_python(text)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def why(reason: str) -> "Reason":
    from messages.requests import Reason

    return request(Reason, reason=reason)


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
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show each turn as it comes.")] = False,
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
    ended, now, inbox = await desk.ended(), await desk.status(), desk.inbox
    value = {**now.model_dump(mode="json"), "workflow": ended or "running", "inbox": inbox}
    present(value, as_json, lambda: rendering.status(now, ended, inbox))


reading("tasks", "The recent tasks: finished, running, queued.", lambda desk: desk.tasks(), rendering.tasks)
reading("logs", "The performance logs of the present window.", lambda desk: desk.logs(), rendering.logs)
reading(
    "amendments",
    "Every change of the settings and every proposal that came to nothing, oldest first.",
    lambda desk: desk.amendments(),
    rendering.amendments,
)


@command
async def proposals(*, as_json: Json = False, desk: "Desk") -> None:
    """What waits for a person's decision."""
    pending = await desk.pending()
    present(pending, as_json, lambda: rendering.proposals(pending))


@command
async def show(
    loop: Loop = None,
    *,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw it: a .png, .svg or .pdf."),
    ] = None,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """One proposal in full: the change, the evidence, the reasons."""
    view = await find_proposal(desk, loop)
    if plot is not None:
        await draw(desk, view, plot)
    present(view, as_json, lambda: rendering.proposal(view))


async def draw(desk: "Desk", view: "ProposalView", file: Path) -> None:
    """The picture of a proposal. Raises Problem; Refused where there is nothing to draw."""
    from desk.explaining import recorded
    from desk.plots import save_plot
    from desk.problems import Refused

    if view.effect is None:
        raise Refused(
            f"{view.loop_id} has no proposal with figures to draw: {view.state}. {view.reason}".strip()
        )
    request, _ = await recorded(desk, view.loop_id)
    save_plot(file, view, request, await desk.amendments())


@command
async def explain(
    loop: Annotated[str, typer.Argument(metavar="LOOP", help="3, loop/3 or the full id.")],
    *,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Compute a proposal again from what is on record, and say whether it comes out the same."""
    from desk.explaining import computed_again, differences, recorded

    loop_id = desk.loop_id(loop)
    request, answer = await recorded(desk, loop_id)
    again = await computed_again(request)
    differ = differences(answer, again)
    value = {
        "loop_id": loop_id,
        "same": not differ,
        "differences": differ,
        "recorded": answer,
        "computed": again,
    }
    present(value, as_json, lambda: rendering.explanation(loop_id, answer, differ))
    if differ:
        raise typer.Exit(NO)


@command
async def approve(
    loop: Loop = None,
    *,
    yes: Yes = False,
    by: By = "",
    comment: Comment = "",
    own: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Your own value for a key of the proposal."),
    ] = None,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Let the image rewrite settings.toml as it proposes, or with your own values."""
    from messages.requests import Decision

    changes = read_changes(own or [])
    decision = request(
        Decision, verdict="approve", approver=by or login_name(), comment=comment, changes=changes
    )
    await carry_out(decision, desk, loop, yes=yes, as_json=as_json)


@command
async def reject(
    loop: Loop = None,
    *,
    yes: Yes = False,
    by: By = "",
    comment: Comment = "",
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Refuse a proposal; settings.toml stays as it is."""
    from messages.requests import Decision

    decision = request(Decision, verdict="reject", approver=by or login_name(), comment=comment)
    await carry_out(decision, desk, loop, yes=yes, as_json=as_json)


async def carry_out(
    decision: "Decision", desk: "Desk", loop: str | None, *, yes: bool, as_json: bool
) -> None:
    view = await find_proposal(desk, loop)
    console = rendering.err if as_json else rendering.out
    conclusion = await decide(desk, view, decision, console, ask=not yes)
    present(conclusion, as_json, lambda: rendering.conclusion(conclusion))
    if conclusion.state != {"approve": "approved", "reject": "rejected"}[str(decision.verdict)]:
        raise typer.Exit(NO)


@command
async def reflect(
    reason: Why = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the proposal.")] = False,
    *,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Make the image look at its logs now."""
    from desk.waiting import until_settled

    receipt = await desk.reflect(why(reason))
    if not wait:
        see = f"See: python starter.py show {receipt.loop_id}"
        sentence = f"The image reflects in {receipt.loop_id}. {see}"
        present(receipt, as_json, lambda: rendering.whole(sentence))
        return
    view = await until_settled(desk, receipt.loop_id)
    present(view, as_json, lambda: rendering.proposal(view))
    if view.state == "failed":
        raise typer.Exit(NO)


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
