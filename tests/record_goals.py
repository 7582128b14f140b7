"""Prints what an idle image comes to by itself, as Markdown: `python -m tests.record_goals [INQUIRIES]`.

Real workflows on a real dev server, whose clock is moved through the idle hours, and the embedded model.
The record in docs/goals.md is such a print.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from temporalio.testing import WorkflowEnvironment

from messages.goals import Goal, InquiryConcluded
from messages.tasks import DialogueResult, TaskReceipt
from runtime.embedded_model.weights import EMBEDDED_MODEL_NAME
from runtime.model_backend import Choice, run_model
from runtime.workers import running_workers
from testbed.world import Image, until
from tests.workflows.servers import server_with_movable_clocks

QUESTIONS = ("Should a town plant trees or build shade roofs?", "Should schools ban phones during lessons?")
IDLE = timedelta(hours=25)
PATIENCE_SECONDS = 1_800.0
"""For one inquiry or argument; on two idle cores each takes a minute or two."""


class Dreamer(Image):
    """An image with goals, four a day as shipped, whose idle hours pass when they are told to."""

    server: WorkflowEnvironment

    async def argue_a_goal(self, number: int) -> None:
        """Let the image be idle until its next inquiry, if that has not begun, and print what comes of it."""
        moving = asyncio.create_task(self.server.fast_forward(self.image, IDLE))

        async def begun() -> bool:
            return (await self.state()).motivation.next_number > number

        await until(begun, PATIENCE_SECONDS)
        moving.cancel()
        inquiry = self.client.get_workflow_handle(
            f"{self.name}/inquiry/{number}", result_type=InquiryConcluded
        )
        concluded = await inquiry.result()
        at = (await self.state()).motivation.started[number - 1].astimezone(UTC)
        print(f"## Inquiry {number}, {at:%a %H:%M} by the image's clock\n")
        print(f"{await (await inquiry.describe()).static_summary()}.\n")
        if concluded.goals:
            _print_goals(concluded.goals)
        if concluded.best is None:
            print(f"No goal: {concluded.reason}.\n")
            return
        print(f"Taken: **{concluded.best.goal}** ({concluded.best.persona}: {concluded.best.why})\n")
        receipt = TaskReceipt(
            task_id=f"goal-{number}", workflow_id=f"{self.name}/task/goal-{number}", position=0
        )
        _print_result(await self.result(receipt))


def _print_result(result: DialogueResult) -> None:
    said = ", ".join(each.label or "none given" for each in result.dissonance)
    print(f"{result.outcome} after {result.log.turn_count} turns ({said}):\n")
    print("\n".join(f"> {line}" for line in result.synthesis.splitlines()) + "\n", flush=True)


def _print_goals(goals: list[Goal]) -> None:
    print("| who | goal | score |\n|---|---|---|")
    for goal in goals:
        score = "none" if goal.score is None else f"{goal.score:.2f}"
        print(f"| {goal.persona} | {goal.goal} | {score} |")
    print()


@asynccontextmanager
async def dreaming(folder: Path) -> AsyncIterator[Dreamer]:
    choice = Choice(EMBEDDED_MODEL_NAME)
    async with await server_with_movable_clocks() as server, run_model(choice, folder / ".state") as model:
        image = Dreamer(server.client, "", folder, {"motivator.goals": True, "autopoiesis.max_turns": 4})
        image.server = server
        async with running_workers(
            server.client, image.name, model=model, settings=image.file, state_dir=folder / ".state"
        ):
            await image.start()
            yield image


async def main(inquiries: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with dreaming(Path(folder)) as image:
            print(f"# Recorded {datetime.now(UTC):%Y-%m-%d}\n")
            for question in QUESTIONS:
                print(f"## A person asks: {question}\n")
                _print_result(await image.ask(question))
            for number in range(1, inquiries + 1):
                await image.argue_a_goal(number)


if __name__ == "__main__":
    Console(stderr=True).print("This takes a while ...")
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8))
