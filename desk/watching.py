"""The command `watch`: a screen that shows the image as it lives."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connection.problems import Problem
from desk import rendering
from desk.app import command

if TYPE_CHECKING:
    from desk.client import Desk
    from messages.calls import Heard
    from messages.image import ImageStatus
    from messages.loops import ProposalView
    from messages.tasks import PerformanceLog, TaskView, Transcript
    from messages.verification import VerificationView

QUIT = "q"


@dataclass
class Argument:
    """A running task. `transcript` None: its dialogue has not begun."""

    task: "TaskView"
    transcript: "Transcript | None" = None
    heard: "Heard | None" = None


@dataclass
class Sight:
    """What was seen at one look. `trouble`: why the latest one came to nothing; the rest is of before."""

    status: "ImageStatus"
    tasks: "list[TaskView]"
    arguments: list[Argument]
    logs: "list[PerformanceLog]"
    pending: "list[ProposalView]" = field(default_factory=list)
    verification: "VerificationView | None" = None
    trouble: str = ""


@command
async def watch(*, desk: "Desk") -> None:
    """Watch the image live: q quits. Where the output is no terminal, it shows the screen once."""
    from rich.live import Live

    from desk import watch_rendering
    from desk.client import LOOK_EVERY_SECONDS

    console = rendering.out
    seen = await look(desk)
    if not console.is_terminal:
        console.print(watch_rendering.screen(seen, console))
        return
    with keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        while QUIT not in pressed:
            live.update(watch_rendering.screen(seen, console), refresh=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_SECONDS):
                    await pressed.another()
            try:
                seen = await look(desk, seen)
            except Problem as problem:  # a worker that is just being restarted, say
                seen.trouble = str(problem)


async def look(desk: "Desk", before: Sight | None = None) -> Sight:
    """See how all stands. Raises Problem."""
    status, tasks = await asyncio.gather(desk.status(), desk.tasks())
    counted = (status.window, status.finished)
    is_same = before is not None and (before.status.window, before.status.finished) == counted
    running = [task for task in tasks if task.phase == "running"]
    return Sight(
        status=status,
        tasks=tasks,
        arguments=await asyncio.gather(*(_argument(desk, task) for task in running)),
        logs=before.logs if before is not None and is_same else await desk.logs(),
        pending=await desk.pending() if status.waiting_loops else [],
        verification=await desk.verification() if status.verification else None,
    )


async def _argument(desk: "Desk", task: "TaskView") -> Argument:
    argument = Argument(task)
    with contextlib.suppress(Problem):  # not begun, or just ended
        argument.transcript = await desk.transcript(task.task_id)
        argument.heard = await desk.heard(task.task_id)
    return argument


class Pressed:
    """The keys that were pressed."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._another = asyncio.Event()

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def press(self, keys: str) -> None:
        self._keys.update(keys)
        self._another.set()

    async def another(self) -> None:
        """Wait for the next key."""
        self._another.clear()
        await self._another.wait()


@contextlib.contextmanager
def keys() -> Iterator[Pressed]:
    """Read keys as they are pressed, where somebody sits at a keyboard."""
    import termios
    import tty

    pressed = Pressed()
    if not sys.stdin.isatty():
        yield pressed
        return
    keyboard = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    usual = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, lambda: pressed.press(os.read(keyboard, 64).decode(errors="replace")))
    try:
        yield pressed
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, usual)
