"""The image as tools of another program, through the official client of the Model Context Protocol."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp import Client, StdioServerParameters

from testbed.world import World
from tests.desk.command_line import STARTER, Starter

LOOKS = {"ask", "status", "proposals", "show"}


@asynccontextmanager
async def tools(starter: Starter, *options: str) -> AsyncIterator[Client]:
    """A program that has started `starter.py mcp`."""
    server = StdioServerParameters(
        command=sys.executable,
        args=[str(STARTER), "mcp", *options],
        env=starter.environment_of_commands(),
        cwd=starter.folder,
    )
    async with Client(server) as client:
        yield client


async def called(client: Client, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(json.loads(result.content[0].model_dump_json())["text"])


async def test_a_model_asks_waits_on_and_looks_but_decides_nothing(world: World, starter: Starter) -> None:
    async with tools(starter) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == LOOKS
        world.ollama.answering.clear()
        first = await called(client, "ask", task="Trees or roofs?", task_id="mine", wait_seconds=1)
        assert (first["done"], first["task_id"]) == (False, "mine")
        world.ollama.answering.set()
        answer = await called(client, "ask", task="Trees or roofs?", task_id="mine")
        assert answer["done"]
        assert answer == await called(client, "ask", task_id="mine")
        assert (
            answer["synthesis"]
            == (await world.client.get_workflow_handle(f"{world.name}/task/mine").result())["synthesis"]
        )
        assert (await called(client, "status"))["finished"] == 1
        view = await world.pending_proposal()
        (pending,) = (await called(client, "proposals"))["result"]
        assert pending == await called(client, "show", loop="1")
        assert pending["digest"] == view.digest
        assert "Unknown tool" in await refused(client, "approve", loop="1", digest=view.digest)
        assert "has no task nobody's" in await refused(client, "ask", task_id="nobody's")


async def test_where_a_person_allows_it_a_model_decides_on_what_it_was_shown(
    world: World, starter: Starter
) -> None:
    view = await world.pending_proposal()
    async with tools(starter, "--allow-approve") as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == LOOKS | {"approve", "reject"}
        assert "look at it again" in await refused(client, "approve", loop="1", digest="0" * 12)
        concluded = await called(client, "approve", loop="1", digest=view.digest, comment="seen")
        assert (concluded["state"], concluded["decided_by"]) == ("approved", "marie, by MCP")
    assert world.on_file().autopoiesis.max_turns == 3


async def test_help_says_that_deciding_is_off(starter: Starter) -> None:
    ran = await starter("mcp", "--help")
    assert "Off: people alone do." in " ".join(ran.out.replace("│", "").split())
