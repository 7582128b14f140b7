"""The command `mcp`: the image as tools of another program."""

from typing import TYPE_CHECKING, Annotated

import typer

from desk.app import command

if TYPE_CHECKING:
    from desk.client import Desk


@command
async def mcp(
    *,
    allow_approve: Annotated[
        bool,
        typer.Option(
            "--allow-approve",
            help="Let the other program, and the model in it, decide on proposals. Off: people alone do.",
        ),
    ] = False,
    desk: "Desk",
) -> None:
    """Serve the image to a program that speaks the Model Context Protocol, on stdin and stdout."""
    from desk.tools import serve

    await serve(desk, may_decide=allow_approve)
