"""The command that writes the life of an image as a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from connection.places import as_typed
from connection.problems import Problem
from desk import rendering
from desk.app import Json, command, present

if TYPE_CHECKING:
    from desk.client import Desk

ENDINGS = (".html", ".htm")


@command
async def report(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.html", help="What to write; a file there is replaced.")
    ],
    *,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Write the life of the image as one page: its changes, arguments, trials, settings and cost.

    It needs no network and runs no script. What the server no longer has is left out, and the page says so.
    """
    from desk.report.page import page_of
    from desk.report.reading import read
    from desk.writing import require_writable, write_whole

    if file.suffix.lower() not in ENDINGS:
        raise Problem(f"A report is a page: name a file that ends in .html, not {as_typed(file)}")
    require_writable(file)
    with rendering.err.status("Reading the image") as status:
        life = await read(desk, status.update)
        status.update("Drawing")
        page = page_of(life).encode()
    write_whole(file, page)
    receipt = {
        "file": str(file.absolute()),
        "bytes": len(page),
        "arguments": len(life.arguments),
        "loops": len(life.loops),
    }
    sentence = f"The report is in {as_typed(file)}: {decimal(len(page))}."
    present(receipt, as_json, lambda: rendering.whole(sentence))
