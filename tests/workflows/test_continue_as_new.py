"""The image continues as new, again and again, and loses nothing on the way."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment

from messages.image import ImageStatus, Rated
from messages.tasks import LogReceipt, TaskReceipt
from testbed.fake_ollama import FakeOllama, Script
from testbed.world import World, until
from tests.workflows.servers import server_with_movable_clocks
from workflows.image_state import ImageState
from workflows.living_image import LivingImage
from workflows.supervision import FIRST_SWEEP

STATE_BYTES = 256 * 1024
SETTINGS = {
    "system.max_concurrent_tasks": 4,
    "models.max_concurrent_calls": 8,
    "autopoiesis.max_turns": 1,
    "cadence.min_logs": 100,
}


@pytest.fixture(scope="module")
async def short_runs() -> AsyncIterator[WorkflowEnvironment]:
    """A dev server that suggests continue-as-new after 120 events; tests may move its workflows' clocks."""
    async with await server_with_movable_clocks(events_a_run=120) as environment:
        yield environment


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama(Script(delay_seconds=0.05)) as fake:
        yield fake


@pytest.fixture
async def world(short_runs: WorkflowEnvironment, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[World]:
    async with World(short_runs.client, ollama, tmp_path, SETTINGS) as running:
        yield running


class Load:
    """People and programs that all want something of one image at once; each remembers what it sent."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tasks: list[str] = []
        self.logs: list[str] = []

    async def round(self, number: int) -> None:
        """A task sent twice, another retried; a log sent twice; and updates that only make history grow."""
        task, log = f"task-{number}", f"log-{number}"
        await asyncio.gather(
            *(self.submit(task) for _ in range(2)),
            self.submit_and_retry(f"update-{number}"),
            *(self.log(log) for _ in range(2)),
            *(self.world.update("resume", None, ImageStatus) for _ in range(4)),
        )
        for _ in range(4):
            await asyncio.gather(*(self.world.update("resume", None, ImageStatus) for _ in range(8)))
        self.tasks.append(task)
        self.logs.append(log)

    async def submit(self, task_id: str) -> None:
        task = {"task": f"What about {task_id}?", "task_id": task_id}
        receipt = await self.world.update("submit_task", task, TaskReceipt)
        assert receipt.workflow_id == f"{self.world.name}/task/{task_id}"

    async def submit_and_retry(self, update_id: str) -> None:
        first = await self.world.update("submit_task", {"task": "Again?"}, TaskReceipt, id=update_id)
        again = await self.world.update("submit_task", {"task": "Again?"}, TaskReceipt, id=update_id)
        assert first.task_id == again.task_id
        self.tasks.append(first.task_id)

    async def log(self, task_id: str) -> None:
        log = {"task_id": task_id, "final_dissonance": 0.7, "turn_count": 1, "outcome": "max_turns"}
        assert (await self.world.update("record_performance", log, LogReceipt)).accepted


async def carried_states(world: World) -> list[ImageState]:
    """What each run but the first began with, the latest first."""
    states: list[ImageState] = []
    run_id = ""
    while True:
        handle = world.client.get_workflow_handle(world.name, run_id=run_id or None)
        started = (await anext(handle.fetch_history_events())).workflow_execution_started_event_attributes
        run_id = started.continued_execution_run_id
        if not run_id:
            return states
        (payload,) = started.input.payloads
        assert len(payload.data) < STATE_BYTES
        states.append(ImageState.model_validate(json.loads(payload.data)["state"]))


async def dialogues(world: World) -> int:
    query = f'WorkflowType = "Dialogue" AND WorkflowId STARTS_WITH "{world.name}/task/"'
    return (await world.client.count_workflows(query)).count


# Without a cache each workflow task replays its whole history, so fewer runs take longer.
@pytest.mark.parametrize(
    ("max_cached_workflows", "runs"),
    [(1000, 11), (0, 5)],
    ids=["ten times, warm cache", "four times, no cache"],
)
async def test_continuing_as_new_again_and_again_under_load_loses_nothing_and_does_nothing_twice(
    short_runs: WorkflowEnvironment, ollama: FakeOllama, tmp_path: Path, max_cached_workflows: int, runs: int
) -> None:
    async with World(short_runs.client, ollama, tmp_path, SETTINGS, max_cached_workflows) as world:
        waiting = await world.pending_proposal()
        load = Load(world)
        for number in itertools.count():
            await load.round(number)
            if (await world.status()).runs >= runs:
                break
        await load.submit_and_retry("update-0")  # once more, ten runs later
        load.tasks.pop()
        await world.tasks_finished()
        await world.decide(waiting.loop_id, proposal_digest=waiting.digest)
        await world.loops_concluded()
        state = await world.state()

        assert state.runs >= runs
        assert (state.finished_count, state.failed_count) == (len(load.tasks), 0)
        finished = [task.task_id for task in state.finished]
        assert sorted(set(finished)) == sorted(finished)
        assert set(finished) <= set(load.tasks)
        assert sorted(set(state.seen_logs)) == sorted(state.seen_logs)
        logged = {*load.tasks, *load.logs}
        assert {log for log in state.seen_logs if not log.startswith("outside-")} <= logged
        assert len(state.seen_logs) == min(200, len(logged) + 8)

        async def listed() -> bool:
            return await dialogues(world) >= len(load.tasks)

        await until(listed)
        assert await dialogues(world) == len(load.tasks)
        assert state.set_aside == []

        assert [(entry.state, entry.decided_by) for entry in state.ledger.amendments] == [("approved", "Ada")]
        assert state.settings == world.on_file()
        assert (state.settings.autopoiesis.max_turns, state.ledger.revision) == (2, 2)

        carried = await carried_states(world)
        assert len(carried) == state.runs - 1
        assert all(each.open_loops == [waiting.loop_id] for each in carried if each.ledger.revision == 1)
        assert sum(bool(each.running) for each in carried) >= runs // 3, (
            "tasks in flight across continue-as-news"
        )


async def test_observations_and_opinions_go_on_in_the_next_run(world: World) -> None:
    before = await world.ask("Is it so?", task_id="rated")
    await world.tasks_finished()
    await world.update("rate_task", {"task_id": "rated", "rating": 0.25}, Rated)
    await continue_as_new(world)
    await world.update("rate_task", {"task_id": "rated", "rating": 0.75, "rated_by": "Ada"}, Rated)
    after = await world.ask("And now?")
    await world.tasks_finished()
    assert before.log.conditions == after.log.conditions != ""
    (row,) = await world.image.query(LivingImage.observations)
    assert (row.dissonance["question"].n, row.rating.n, row.rating.mean) == (2, 1, 0.75)
    first, _ = (await world.state()).finished
    assert (first.rating, first.rated_by) == (0.75, "Ada")


# --- children that end without a word after the run that began them ---


async def continue_as_new(world: World) -> None:
    """Let the image's history grow until it begins anew."""
    run_id = (await world.image.describe()).run_id
    while (await world.image.describe()).run_id == run_id:
        await asyncio.gather(*(world.update("resume", None, ImageStatus) for _ in range(8)))


async def continue_as_new_and_ask_after_children(world: World) -> None:
    """The same, until the new run waits before it asks again."""
    await continue_as_new(world)

    async def asked() -> bool:
        started = [
            event.user_metadata.summary.data
            async for event in world.image.fetch_history_events()
            if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
        ]
        return b'"Until asking again"' in started

    await until(asked)


async def test_a_dialogue_terminated_in_a_later_run_is_noticed_and_its_task_recorded_as_failed(
    short_runs: WorkflowEnvironment, world: World
) -> None:
    world.ollama.answering.clear()
    receipt = await world.submit("Who will remember me?", task_id="held")
    await world.ollama.until(lambda: len(world.ollama.calls) == 1)
    await continue_as_new_and_ask_after_children(world)
    assert (await world.status()).running == 1
    await world.client.get_workflow_handle(receipt.workflow_id).terminate()
    await short_runs.fast_forward(world.image, FIRST_SWEEP + timedelta(seconds=1))

    async def noticed() -> bool:
        return (await world.status()).failed == 1

    await until(noticed)
    state = await world.state()
    (task,) = state.finished
    assert (task.task_id, task.outcome) == ("held", "failed")
    assert task.failure == "Lost: the workflow of this task ended: terminated"
    assert [(log.task_id, log.outcome, log.final_dissonance) for log in state.window] == [
        ("held", "failed", None)
    ]
    world.ollama.answering.set()
    assert (await world.ask("And now?")).synthesis


async def test_a_loop_terminated_in_a_later_run_is_noticed_and_the_next_one_may_begin(
    short_runs: WorkflowEnvironment, world: World
) -> None:
    waiting = await world.pending_proposal()
    await continue_as_new_and_ask_after_children(world)
    assert (await world.status()).waiting_loops == [waiting.loop_id]
    await world.loop(waiting.loop_id).terminate()
    await short_runs.fast_forward(world.image, FIRST_SWEEP + timedelta(seconds=1))

    await world.loops_concluded()
    state = await world.state()
    (entry,) = state.ledger.amendments
    assert (entry.loop_id, entry.state, entry.revision) == (waiting.loop_id, "failed", 1)
    assert entry.reason == "the workflow of this loop ended: terminated"
    assert len(state.window) == 8
    assert (await world.proposal(await world.reflect())).state == "pending"
