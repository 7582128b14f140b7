"""The screen of `watch`: everything in as many lines as there are, the words that come in what is left."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.text import Text

from desk import speech_rendering, verification_rendering
from desk.rendering import STYLES, change_line, styled, words

if TYPE_CHECKING:
    from desk.sight import Argument, Sight
    from messages.image import ImageStatus
    from messages.loops import ProposalView
    from messages.tasks import PerformanceLog, TaskView

BARS = "▁▂▃▄▅▆▇█"
UNKNOWN = "·"
MOST_QUEUED = 3


def screen(seen: Sight, console: Console) -> RenderableType:
    """One frame, no higher and no wider than the console."""
    above = [*_head(seen.status), Text()]
    below = [
        *_queue([task for task in seen.tasks if task.phase == "queued"]),
        Text(),
        *_dissonance(seen.logs, console.width),
        *_verification(seen),
        *_pending(seen.pending),
        *(line for alarm in _alarms(seen) for line in alarm.wrap(console, console.width)),
    ]
    foot = words(f"{datetime.now().astimezone():%H:%M:%S}  q quits", "dim")
    height = console.height if console.is_terminal else 60
    room = height - len(above) - len(below) - 1
    middle = _arguments(seen.arguments, console, max(room, 2 * len(seen.arguments)))
    # Where there are too few lines, what waits for a person and what is wrong stay.
    lines = [*[*above, *middle][: max(height - 1 - len(below), 1)], *below]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines[: height - 1], foot)


def _head(status: ImageStatus) -> list[Text]:
    facts = words(f"  revision {status.revision}, {status.model_backend or 'no model yet'}", "dim")
    title = Text.assemble(words(status.image_id, "bold"), "  ", styled(status.phase), facts)
    tasks = f"{status.running} running, {status.queued} queued, {status.finished} finished"
    return [title, words(tasks + (f", {status.failed} of these failed" if status.failed else ""))]


def _arguments(arguments: list[Argument], console: Console, room: int) -> list[Text]:
    """Who speaks in each running task, and the end of what is being said."""
    if not arguments:
        return [words("Nobody argues at the moment.", "dim")]
    each = room // len(arguments)
    return [line for argument in arguments for line in _argument(argument, console, each)]


def _argument(argument: Argument, console: Console, most: int) -> list[Text]:
    task, said = argument.task, argument.transcript
    title = Text.assemble(words(task.task_id, "cyan"), words(f"  {task.task}"))
    if said is None or not said.speaking:
        return [title, words("  begins", "dim")]
    heard = argument.heard
    state = f"  {heard.state}, {heard.tokens} tokens" if heard and heard.tokens else ""
    last = said.turns[-1].dissonance.value if said.turns else None
    before = "" if last is None else f"  last dissonance {last:.2f}"
    lines = [title, Text.assemble(words(f"  {said.speaking}"), words(state + before, "dim"))]
    if heard and heard.said:
        lines += speech_rendering.last_lines(heard, console, most - len(lines))
    return lines


def _queue(queued: list[TaskView]) -> list[Text]:
    lines: list[Text] = [words(f"next: {task.task}", "dim") for task in queued[:MOST_QUEUED]]
    more = len(queued) - MOST_QUEUED
    return [*lines, words(f"and {more} more", "dim")] if more > 0 else lines


def _dissonance(logs: list[PerformanceLog], width: int) -> list[Text]:
    """The last dissonances from 0 to 1, the latest at the right."""
    latest = [log.final_dissonance for log in logs][-max(width - 24, 8) :]
    measured = [value for value in latest if value is not None]
    if not measured:
        return [words("dissonance: none measured in this window", "dim")]
    line = "".join(UNKNOWN if value is None else BARS[min(int(value * 8), 7)] for value in latest)
    return [Text.assemble("dissonance ", (line, "cyan"), f" mean {sum(measured) / len(measured):.2f}")]


def _verification(seen: Sight) -> list[Text]:
    line = seen.status.verification
    return [words(f"verification: {line}", "yellow")] if line else []


def _pending(views: list[ProposalView]) -> list[Text]:
    lines: list[Text] = []
    for view in views:
        what = ", ".join(map(change_line, view.changes))
        lines.append(words(f"{view.loop_id} waits for you: {what}", STYLES["pending"]))
    return [*lines, words("  python starter.py show, then approve or reject", "dim")] if lines else []


def _alarms(seen: Sight) -> list[Text]:
    status, verified = seen.status, seen.verification
    told = [f"{loop_id} waits and tries again: {why}" for loop_id, why in status.obstacles.items()]
    if verified is not None and verified.pinned:
        told.append(verification_rendering.harm(verified))
    if status.settings_problem:
        told.append(f"settings.toml was refused: {status.settings_problem}")
    if status.snapshot_problem:
        told.append(f"The last snapshot failed: {status.snapshot_problem}")
    return [words(alarm, "red") for alarm in [*told, *filter(None, [seen.trouble])]]
