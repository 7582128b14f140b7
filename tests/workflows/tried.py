"""Images that try: what they are asked, and what became of their trials."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus

from activities.prompts import PROMPTS
from configuration import Value
from messages.loops import ProposalView
from testbed.fake_ollama import FakeOllama, Script
from testbed.world import World, until
from workflows.philosophical_loop import PhilosophicalLoop

# Of ROBIN's temperature. All others are words apart.
WARMER_IS_BETTER = {
    "0.4": "opposite",
    "0.5": "opposite",
    "0.6": "unrelated",
    "0.7": "partly_different",
    "0.8": "same",
}
WARMER = {"changes": [{"key": "temperatures.robin", "value": 0.8}], "reason": "It may say more."}
TRYING: dict[str, Value] = {"optimizer.trial_tasks": 7, "optimizer.creator": "", "optimizer.judge": ""}
THOUGHT = ("analysing", "trying", "rewriting")


@asynccontextmanager
async def argued(
    client: Client,
    ollama: FakeOllama,
    folder: Path,
    settings: Mapping[str, Value] | None = None,
    *,
    prompts: Path = PROMPTS,
    needs_research: bool = False,
) -> AsyncIterator[World]:
    """An image that tries, with eight arguments behind it that ended far apart."""
    ollama.script = Script(labels_at=WARMER_IS_BETTER, candidates=[WARMER], needs_research=needs_research)
    async with World(client, ollama, folder, {**TRYING, **(settings or {})}, prompts=prompts) as world:
        await asyncio.gather(*(world.ask(f"Question {number}?", task_id=f"q{number}") for number in range(8)))
        yield world


async def thought(world: World, loop_id: str, timeout_seconds: float = 120) -> ProposalView:
    """What a loop has come to before a person decides."""

    async def settled() -> ProposalView | None:
        view = await world.loop(loop_id).query(PhilosophicalLoop.proposal)
        return None if view.state in THOUGHT else view

    view: ProposalView = await until(settled, timeout_seconds)
    return view


async def replays(world: World, loop_id: str) -> dict[str, WorkflowExecutionStatus | None]:
    """How the replays of a loop stand, by its history: the list of the server lags behind."""
    begun = [
        event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
        async for event in world.loop(loop_id).fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
    ]
    described = [await world.client.get_workflow_handle(each).describe() for each in begun]
    return {each.id: each.status for each in described}
