"""The command that looks at all that an image needs."""

from typing import Annotated

import typer

from desk import rendering
from desk.app import Json, SettingsFile, command, present
from desk.doctor import examine, repair
from runtime.places import SETTINGS, STATE_DIR


@command
async def doctor(
    fix: Annotated[
        bool,
        typer.Option(
            "--fix", help="Mend what is safe to mend: search attributes, retention, missing models."
        ),
    ] = False,
    as_json: Json = False,
    settings: SettingsFile = None,
) -> None:
    """See whether all that the image needs is there; 0: all well, 1: warnings, 2: something is broken."""
    path = settings or SETTINGS
    with rendering.err.status("looking"):
        report = await examine(path, STATE_DIR)
    if fix:
        with rendering.progress() as tell:
            repairs = await repair(report, tell)
        if repairs:
            with rendering.err.status("looking again"):
                report = await examine(path, STATE_DIR)
        report.repairs = repairs
    present(report, as_json, lambda: rendering.checkup(report))
    raise typer.Exit(report.exit_code)
