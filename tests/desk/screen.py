"""A terminal with somebody before it: commands run in a pty, and what they show is read off a screen."""

import asyncio
import fcntl
import os
import pty
import struct
import termios
from typing import Self

import pyte

from tests.desk.command_line import Starter


class Screen:
    """The terminal of one command. `typed` is what the person types."""

    def __init__(self, starter: Starter, *arguments: str, columns: int = 100, lines: int = 40) -> None:
        self._starter = starter
        self._arguments = arguments
        self._screen = pyte.HistoryScreen(columns, lines, history=1_000)
        self._stream = pyte.ByteStream(self._screen)
        self._all_read = asyncio.Event()
        self.sent = b""

    async def __aenter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        size = struct.pack("HHHH", self._screen.lines, self._screen.columns, 0, 0)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
        self._process = await self._starter.begin(*self._arguments, stdin=theirs, terminal=theirs)
        os.close(theirs)
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        os.close(self._ours)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    @property
    def shows(self) -> str:
        """What stands on the screen now."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    async def until(self, *wanted: str) -> str:
        """Wait until all of it stands on the screen at once."""
        try:
            async with asyncio.timeout(60):
                while not all(words in self.shows for words in wanted):  # noqa: ASYNC110 (nothing tells)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{wanted} does not stand on this screen:\n{self.shows}") from None
        return self.shows

    async def ended(self) -> int:
        """Wait for the end of the command, and for the last that it wrote; its exit code."""
        async with asyncio.timeout(60):
            code = await self._process.wait()
            await self._all_read.wait()
        return code

    def _read(self) -> None:
        try:
            told = os.read(self._ours, 65_536)
        except OSError:  # the other end is closed, and all is read
            asyncio.get_running_loop().remove_reader(self._ours)
            self._all_read.set()
            return
        self.sent += told
        self._stream.feed(told)
