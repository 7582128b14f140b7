"""The work, whoever does it: a task of six model calls in turn, and a change of settings.toml once approved.

Each program takes its orders as lines of JSON on its standard input, and says on its standard output what it
has done. It imports nothing of the image.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import tomlkit

STEPS = ("plan", "research", "thesis", "antithesis", "dissonance", "synthesis")
SECTION, NAME = "autopoiesis", "max_turns"


@dataclass
class Change:
    """What a person is asked to approve: one turn more."""

    old: Any
    new: Any


class Model:
    """The model server."""

    def __init__(self, host: str) -> None:
        self._client = httpx.AsyncClient(base_url=host, timeout=60)

    async def ask(self, step: str, said: Mapping[str, str]) -> str:
        """One call, with all that was said before."""
        words = "\n\n".join(f"{what}: {text}" for what, text in said.items())
        messages = [{"role": "user", "content": f"{words}\n\nNow the {step}."}]
        told = await self._client.post(
            "/api/chat", json={"model": "peer", "messages": messages, "stream": False}
        )
        return str(told.raise_for_status().json()["message"]["content"])


def proposed(file: Path) -> Change:
    old = tomlkit.parse(file.read_text()).unwrap()[SECTION][NAME]
    return Change(old, old + 1)


def carry_out(file: Path, change: Change) -> None:
    """Into the file as it is by then: what else a person has edited meanwhile stays."""
    document: Any = tomlkit.parse(file.read_text())
    document[SECTION][NAME] = change.new
    file.write_text(tomlkit.dumps(document))


class Orders(NamedTuple):
    """What a program does, by id. `unfinished`: what it takes up again when it starts."""

    argue: Callable[[str], Awaitable[object]]
    propose: Callable[[str], Awaitable[object]]
    approve: Callable[[str], Awaitable[object]]
    unfinished: AsyncIterator[tuple[str, Awaitable[object]]]


async def serve(orders: Orders) -> None:
    """Carry orders out until there are no more, as many at a time as come."""
    async with asyncio.TaskGroup() as group:
        say("ready")
        async for name, work in orders.unfinished:
            group.create_task(_done("argued", name, work))
        async for order in _lines():
            name = order["id"]
            match order["do"]:
                case "argue":
                    group.create_task(_done("argued", name, orders.argue(name)))
                case "propose":
                    group.create_task(_done("waits", name, orders.propose(name)))
                case "approve":
                    group.create_task(_done("approved", name, orders.approve(name)))


async def _done(what: str, name: str, work: Awaitable[object]) -> None:
    await work
    say(what, name)


def say(what: str, name: str = "") -> None:
    print(json.dumps([what, name]), flush=True)


async def _lines() -> AsyncIterator[dict[str, Any]]:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)
