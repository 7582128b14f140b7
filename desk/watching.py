"""The command `watch`: a screen that shows the image as it lives."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from connection.problems import Problem
from desk import rendering
from desk.app import command
from desk.sight import look

if TYPE_CHECKING:
    from desk.client import Desk

QUIT = "q"


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
