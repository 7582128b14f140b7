"""Where the seconds of an answer of the embedded model go: `python -m benchmarks.embedded [QUESTION ...]`.

A line for each call: tokens of its prompt evaluated and reused, tokens written, the seconds that it took.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from temporalio.client import WorkflowHistory

from runtime.dev_server import run_dev_server
from runtime.embedded_model.weights import EMBEDDED_MODEL_NAME
from runtime.model_backend import Choice, run_model
from runtime.workers import running_workers
from testbed.ports import free_ports
from testbed.world import Image

QUESTIONS = (
    "Should a town plant trees or build shade roofs?",
    "Should a school start an hour later in winter?",
)
FIGURES = ("evaluated", "reused", "written", "reading_s", "writing_s")


async def calls(image: Image, history: WorkflowHistory) -> list[str]:
    """What each model call of a dialogue was for, in order."""
    summaries = [
        event.user_metadata.summary
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    return await image.client.data_converter.decode(summaries, [str] * len(summaries))


def figures(log: Path) -> list[dict[str, Any]]:
    """What the embedded model has noted of each of its answers."""
    lines = [line for line in log.read_text().splitlines() if line.startswith('{"evaluated"')]
    return [json.loads(line) for line in lines]


def show(question: str, names: list[str], rows: list[dict[str, Any]]) -> None:
    table = Table("call", *FIGURES, title=question)
    for name, row in zip(names, rows, strict=True):
        table.add_row(name, *(f"{row[figure]:g}" for figure in FIGURES))
    table.add_section()
    table.add_row("all", *(f"{round(sum(row[figure] for row in rows), 1):g}" for figure in FIGURES))
    Console().print(table)


async def main(questions: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state = folder / "state"
        state.mkdir()
        async with (
            run_dev_server(state, *free_ports()) as (_, client),
            run_model(Choice(EMBEDDED_MODEL_NAME), state) as model,
        ):
            image = Image(client, "", folder, {"autopoiesis.max_turns": 2})
            async with running_workers(client, image.name, model=model, settings=image.file, state_dir=state):
                await image.start()
                seen = 0
                for question in questions:
                    receipt = await image.submit(question)
                    await image.result(receipt)
                    history = await client.get_workflow_handle(receipt.workflow_id).fetch_history()
                    rows = figures(state / "embedded-model.log")[seen:]
                    seen += len(rows)
                    show(question, await calls(image, history), rows)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or list(QUESTIONS)))
