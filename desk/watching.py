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
    from desk.sight import Sight

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

    async def go_on(seen: "Sight") -> None:
        while True:
            live.update(watch_rendering.screen(seen, console), refresh=True)
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            try:
                seen = await look(desk, seen)
            except Problem as problem:  # a worker that is just being restarted, say
                seen.trouble = str(problem)

    with key(QUIT) as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        # A look takes long where no worker answers, and nobody waits for it in order to quit.
        looking, quitting = asyncio.create_task(go_on(seen)), asyncio.create_task(pressed.wait())
        try:
            await asyncio.wait({looking, quitting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            looking.cancel()
            quitting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await looking


@contextlib.contextmanager
def key(wanted: str) -> Iterator[asyncio.Event]:
    """What is set once a key is pressed, where somebody sits at a keyboard."""
    import termios
    import tty

    pressed = asyncio.Event()
    if not sys.stdin.isatty():
        yield pressed
        return
    keyboard = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    usual = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)

    def read() -> None:
        if wanted in os.read(keyboard, 64).decode(errors="replace"):
            pressed.set()

    loop.add_reader(keyboard, read)
    try:
        yield pressed
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, usual)
