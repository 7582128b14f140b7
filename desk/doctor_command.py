"""The command that looks at all that an image needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.text import Text

from connection.places import SETTINGS, STATE_DIR
from desk import rendering
from desk.app import Json, SettingsPath, StateDir, command, present
from messages.visible import visible

if TYPE_CHECKING:
    from desk.doctor import Repair, Report
    from desk.doctor.finding import Tell


@command
async def doctor(
    fix: Annotated[
        bool,
        typer.Option(
            "--fix", help="Mend what is safe to mend: search attributes, retention, missing models."
        ),
    ] = False,
    as_json: Json = False,
    settings: SettingsPath = None,
    state_dir: StateDir = STATE_DIR,
) -> None:
    """See whether all that the image needs is there; 0: all well, 1: warnings, 2: something is broken."""
    from desk.doctor import examine, repair

    path = settings or SETTINGS
    with rendering.err.status("looking"):
        report = await examine(path, state_dir)
    if fix:
        with _progress() as tell:
            repairs = await repair(report, tell)
        if repairs:
            with rendering.err.status("looking again"):
                report = await examine(path, state_dir)
        report.repairs = repairs
    present(report, as_json, lambda: _checkup(report))
    raise typer.Exit(report.exit_code)


def _checkup(report: "Report") -> RenderableType:
    """A line for each thing looked at, and below it what to do."""
    lines: list[RenderableType] = [_repair(made) for made in report.repairs]
    for finding in report.findings:
        head = rendering.styled(finding.state.ljust(7))
        head.append_text(rendering.words(f"  {finding.check}: {finding.figure}", "default"))
        lines.append(
            rendering.paragraph(head, *([rendering.whole(f"{finding.advice}.")] if finding.advice else []))
        )
    for missing, names in report.not_checked.items():
        lines.append(rendering.words(f"not checked: {', '.join(names)} ({missing})", "dim"))
    return Group(*lines)


@contextmanager
def _progress() -> Iterator["Tell"]:
    """A bar on stderr for what takes its time; where there is no terminal, a line when it is done."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), console=rendering.err
    ) as bars:
        shown: dict[str, TaskID] = {}

        def tell(doing: str, completed: float | None = None, total: float | None = None) -> None:
            if doing not in shown:
                shown[doing] = bars.add_task(escape(visible(doing)), total=total)
            bars.update(shown[doing], completed=completed, total=total)

        yield tell


def _repair(made: "Repair") -> Text:
    if made.done:
        return rendering.words(f"Fixed: {made.done}.")
    return rendering.words(f"Could not fix {made.check}: {made.problem}.", "red")
