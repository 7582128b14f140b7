"""The commands for what the image remembers on this machine."""

import functools
from typing import TYPE_CHECKING, Annotated

import typer

from connection.places import STATE_DIR
from desk import rendering
from desk.app import Json, StateDir, app, command, present, say
from desk.problems import EXIT_CODES

if TYPE_CHECKING:
    from desk.client import Desk

memory = typer.Typer(epilog=EXIT_CODES, no_args_is_help=True)
app.add_typer(memory, name="memory", help="What the image remembers of earlier tasks, on this machine.")


@functools.partial(command, group=memory)
async def search(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    *,
    as_json: Json = False,
    desk: "Desk",
    state_dir: StateDir = STATE_DIR,
) -> None:
    """What BABS would recall for a text."""
    from desk import remembering

    found = await remembering.search(desk, state_dir, text)
    present(found, as_json, lambda: rendering.memories(found.items, found.means))


@functools.partial(command, group=memory)
async def rebuild(
    *,
    as_json: Json = False,
    desk: "Desk",
    state_dir: StateDir = STATE_DIR,
) -> None:
    """Make the memory anew from the newest good snapshot and what the server still holds."""
    from desk import remembering
    from desk.snapshots import kept_memories

    done = await remembering.rebuild(desk, state_dir, lambda: kept_memories(desk.settings, desk.image_id))
    present(done, as_json, say(f"{done.image_id} remembers {done.remembered} tasks on this machine."))
