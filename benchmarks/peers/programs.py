"""The programs that are compared, each to be started, killed and given orders in the same way."""

import asyncio
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

from benchmarks.measures import Bench
from messages.loops import LoopConcluded
from testbed.processes import ROOT
from testbed.world import shipped_settings


class Program(Protocol):
    """`argue` is over when the task is, whatever was killed meanwhile; `approve` says what came of it."""

    name: str
    file: Path

    async def start(self) -> None: ...

    async def kill(self) -> None: ...

    async def argue(self, name: str) -> None: ...

    async def propose(self, name: str) -> None: ...

    async def approve(self, name: str) -> str: ...


class Peer:
    """A program that takes orders as benchmarks/peers/work.py says."""

    def __init__(self, name: str, folder: Path, command: Sequence[str]) -> None:
        self.name = name
        folder.mkdir()
        self.file = shipped_settings(folder)
        self._command = command
        self._heard: dict[tuple[str, str], asyncio.Event] = defaultdict(asyncio.Event)

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._heard.pop(("ready", ""), None)
        self._listening = asyncio.create_task(self._listen())
        await self._heard["ready", ""].wait()

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            what, name = json.loads(line)
            self._heard[what, name].set()

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()
        await self._listening

    async def argue(self, name: str) -> None:
        await self._order("argue", name, "argued")

    async def propose(self, name: str) -> None:
        await self._order("propose", name, "waits")

    async def approve(self, name: str) -> str:
        await self._order("approve", name, "approved")
        return "approved"

    async def _order(self, do: str, name: str, heard: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, "id": name}).encode() + b"\n")
        await self._heard[heard, name].wait()


class Living:
    """The living image with its worker."""

    name = "this"

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.file = bench.image.file
        self._loops: dict[str, str] = {}

    async def start(self) -> None:
        self._running = ExitStack()
        self._process = self._running.enter_context(self._bench.worker())

    async def kill(self) -> None:
        self._process.kill()
        self._running.close()

    async def argue(self, name: str) -> None:
        image = self._bench.image
        await image.result(await image.submit(f"What of {name}?", task_id=name))

    async def propose(self, name: str) -> None:
        await self._bench.image.update("reload_settings", None, dict)
        self._loops[name] = (await self._bench.image.pending_proposal()).loop_id

    async def approve(self, name: str) -> str:
        concluded: LoopConcluded = await self._bench.image.decide(self._loops[name])
        return concluded.state


def programs(bench: Bench, python: str) -> list[Program]:
    """All of them; `python` is that of the peers' environment."""
    home = bench.image.file.parent
    peer = partial(_peer, home, bench.host)
    return [
        Living(bench),
        peer("bare Temporal", sys.executable, "with_temporal", bench.image.address),
        peer("DBOS", python, "with_dbos"),
        peer("LangGraph", python, "with_langgraph"),
        peer("LangGraph, sync", python, "with_langgraph", "sync"),
    ]


def _peer(home: Path, host: str, name: str, python: str, module: str, *more: str) -> Peer:
    folder = home / name.replace(", ", "-").replace(" ", "-")
    return Peer(name, folder, [python, "-m", f"benchmarks.peers.{module}", str(folder), host, *more])
