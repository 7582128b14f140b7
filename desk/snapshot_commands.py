"""The commands for snapshots: list them, save one now, bring an image back from one."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.filesize import decimal

from connection.places import STATE_DIR, as_typed
from desk import rendering
from desk.app import FileName, Image, Json, SettingsPath, StateDir, Yes, command, present, request
from desk.deciding import confirm

if TYPE_CHECKING:
    from desk.client import Desk
    from desk.snapshots import Restoration, SnapshotView


@command
async def snapshots(as_json: Json = False, image: Image = None, settings: SettingsPath = None) -> None:
    """The snapshots of the image on this machine, newest first, each checked."""
    from desk.snapshots import find_snapshots
    from desk.which import image_named_in

    found = find_snapshots(settings, image or image_named_in(settings))
    none = "No snapshots yet. Save one: python starter.py snapshot"
    present(found, as_json, lambda: Group(*map(_kept, found)) if found else rendering.words(none))


@command
async def snapshot(
    path: Annotated[
        str, typer.Option(metavar="PLACE", help="A folder or fsspec URL, instead of [system] image_path.")
    ] = "",
    *,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Save a snapshot of the image now."""
    from messages.requests import SaveImage

    receipt = await desk.save(request(SaveImage, path=path))
    sentence = f"Generation {receipt.generation} is in {as_typed(receipt.path)}: {decimal(receipt.bytes)}."
    present(receipt, as_json, lambda: rendering.whole(sentence))


@command
async def restore(
    file: Annotated[
        FileName,
        typer.Argument(metavar="FILE", help="A snapshot: a path or an fsspec URL.", parser=FileName),
    ],
    *,
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Another name; --settings has to name that image."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all of it and change nothing.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    settings: SettingsPath = None,
    state_dir: StateDir = STATE_DIR,
) -> None:
    """Bring an image back from a snapshot, where none of its name is alive."""
    from connection.server import connect
    from desk.remembering import remember
    from desk.snapshots import Restoring

    restoring = Restoring(await connect(), str(file), settings, name)
    plan = await restoring.prepare()
    if dry_run:
        present(plan, as_json, lambda: _restoration(plan))
        return
    if (plan.changes or plan.replaces_newborn) and not yes:
        rendering.err.print(_consequences(plan))
        confirm(f"Restore {plan.image_id}?", "restore")
    # Before anything else is changed: what starts then has them, and a store may refuse them.
    remember(state_dir, restoring.memories())
    await restoring.make_room()
    restoring.rewrite_settings()
    done = await restoring.start()
    present(done, as_json, lambda: _restoration(done))


def _kept(view: "SnapshotView") -> RenderableType:
    facts = f"generation {view.generation}", rendering.moment(view.written_at), decimal(view.bytes)
    head = rendering.words("  ".join(filter(None, facts)) + "  ", "bold")
    verdict = rendering.words(view.problem or "verifies", "red" if view.problem else "green")
    return rendering.paragraph(head.append_text(verdict), rendering.whole(as_typed(view.path)))


def _restoration(plan: "Restoration") -> RenderableType:
    what = "was restored" if plan.started else "can be restored"
    lines = [
        f"The living image {plan.image_id!r} {what} from generation {plan.generation}, "
        f"written {rendering.moment(plan.written_at)}.",
        f"Settings revision {plan.revision}, {plan.amendments} entries of the ledger, "
        f"{plan.logs} logs, {plan.finished} finished tasks, {plan.memories} memories.",
    ]
    if plan.queued_again:
        tasks = ", ".join(plan.queued_again)
        lines.append(f"Queued again, because they were not finished: {tasks}.")
    for old, new in plan.renamed.items():
        lines.append(f"Task {old} is known to this server already; it is queued as {new}.")
    if plan.dropped_loops:
        loops = ", ".join(plan.dropped_loops)
        lines.append(f"Proposals that were open are gone, and their logs are judged anew: {loops}.")
    parts: list[RenderableType] = [rendering.words(line) for line in lines]
    if not plan.started:
        parts.append(_consequences(plan))
    elif plan.changes:
        parts.append(rendering.words("settings.toml was rewritten, the old text is in settings.backups:"))
        parts.append(rendering.changes(plan.changes))
    return Group(*parts)


def _consequences(plan: "Restoration") -> RenderableType:
    """What restoring changes that is there already."""
    parts: list[RenderableType] = []
    if plan.replaces_newborn:
        newborn = f"A new {plan.image_id} lives here; nothing has happened in it, and restoring ends it."
        parts.append(rendering.words(newborn, "yellow"))
    if plan.changes:
        differs = "settings.toml differs from the snapshot; restoring rewrites it:"
        parts += [rendering.words(differs, "yellow"), rendering.changes(plan.changes)]
    return Group(*parts)
