"""LangGraph with its SQLite checkpointer: a graph of six nodes, and one with an `interrupt`.

    python -m benchmarks.peers.with_langgraph FOLDER MODEL_SERVER [async | sync]

A LangGraph program takes up by itself what it has not finished: the library has no worker that would.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from benchmarks.peers.work import STEPS, Change, Model, Orders, carry_out, proposed, serve


class Argument(TypedDict, total=False):
    task: str
    plan: str
    research: str
    thesis: str
    antithesis: str
    dissonance: str
    synthesis: str


class Amendment(TypedDict, total=False):
    change: dict[str, Any]
    approved: bool


def argument(model: Model) -> StateGraph[Argument]:
    """Six nodes, one after the other."""

    def node(step: str) -> Any:
        async def ask(state: Argument) -> dict[str, str]:
            return {step: await model.ask(step, {name: str(text) for name, text in state.items()})}

        return ask

    graph = StateGraph(Argument)
    # No node may have the name of a key of the state.
    names = [f"ask for the {step}" for step in STEPS]
    for name, step in zip(names, STEPS, strict=True):
        graph.add_node(name, node(step))
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph


def amendment(file: Path) -> StateGraph[Amendment]:
    """Propose, wait for a person, write."""

    def propose(_: Amendment) -> Amendment:
        return {"change": asdict(proposed(file))}

    def review(state: Amendment) -> Amendment:
        return {"approved": interrupt(state["change"])}

    def write(state: Amendment) -> None:
        if state["approved"]:
            carry_out(file, Change(**state["change"]))

    graph = StateGraph(Amendment)
    for step in (propose, review, write):
        graph.add_node(step.__name__, step)
    for before, after in ((START, "propose"), ("propose", "review"), ("review", "write"), ("write", END)):
        graph.add_edge(before, after)
    return graph


async def main(folder: str, host: str, durability: Any = "async") -> None:
    async with AsyncSqliteSaver.from_conn_string(f"{folder}/langgraph.db") as saver:
        tasks = argument(Model(host)).compile(checkpointer=saver)
        changes = amendment(Path(folder) / "settings.toml").compile(checkpointer=saver)

        def task(name: str) -> Any:
            return {"configurable": {"thread_id": f"task-{name}"}}

        def change(name: str) -> Any:
            return {"configurable": {"thread_id": f"change-{name}"}}

        async def unfinished() -> AsyncIterator[tuple[str, Awaitable[object]]]:
            """From where each was; one that is over stays so. Changes wait in their checkpoints."""
            for thread in {found.config["configurable"]["thread_id"] async for found in saver.alist(None)}:
                if thread.startswith("task-"):
                    name = thread.removeprefix("task-")
                    yield name, tasks.ainvoke(None, task(name), durability=durability)

        await serve(
            Orders(
                argue=lambda name: tasks.ainvoke({"task": name}, task(name), durability=durability),
                propose=lambda name: changes.ainvoke({}, change(name), durability=durability),
                approve=lambda name: changes.ainvoke(
                    Command(resume=True), change(name), durability=durability
                ),
                unfinished=unfinished(),
            )
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
