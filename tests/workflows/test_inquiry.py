"""An image with goals on finds work for itself, below people's; with goals off it never asks a model."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle

from messages.goals import InquiryConcluded
from messages.tasks import TaskView
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until

GOALS = [
    "Should a school day begin at noon in winter?",
    "Should trams be free on Sundays?",
    "Is a town better off with one library or with three?",
    "Who should decide where a bench stands?",
    "Should letters cost the same in every country?",
    "Should bakeries give away their bread at night?",
    "Ought rivers to have a lawyer of their own?",
    "May a theatre ban latecomers?",
]
QUICKLY: dict[str, Any] = {
    "motivator.goals": True,
    "motivator.idle_after": "200ms",
    "motivator.goals_per_day": 1,
}


@pytest.fixture
def ollama(ollama: FakeOllama) -> FakeOllama:
    ollama.script.goals = GOALS
    return ollama


@pytest.fixture
async def dreamer(client: Client, ollama: FakeOllama, tmp_path: Path) -> World:
    """An image that looks for a goal as soon as it lives; its workers are not started yet."""
    return World(client, ollama, tmp_path, QUICKLY)


def inquiry(world: World, number: int = 1) -> WorkflowHandle[Any, InquiryConcluded]:
    return world.client.get_workflow_handle(f"{world.name}/inquiry/{number}", result_type=InquiryConcluded)


async def finished_goals(world: World) -> list[TaskView]:
    tasks = await world.image.query("tasks", result_type=list[TaskView])
    return [task for task in tasks if task.origin == "motivator" and task.phase == "finished"]


async def test_an_idle_image_argues_out_the_goal_that_the_others_like_best(dreamer: World) -> None:
    best = "Ought rivers to have a lawyer of their own?"
    dreamer.ollama.script.scores = {best: "excellent", GOALS[0]: "pointless"}

    async with dreamer:

        async def argued() -> bool:
            return bool(await finished_goals(dreamer))

        await until(argued)
        [goal] = await finished_goals(dreamer)
        assert (goal.task_id, goal.task, goal.outcome) == ("goal-1", best, "converged")
        assert goal.reason.endswith(": Nobody asked it yet.")
        concluded = await inquiry(dreamer).result()
        assert len(concluded.goals) == len(GOALS)
        assert {found.goal: found.score for found in concluded.goals}[best] == 1.0
        assert [log.origin for log in (await dreamer.state()).window] == ["motivator"]
        # One a day: the rest of the day it dreams of nothing.
        assert (await dreamer.state()).next_inquiry() is not None
        assert len((await dreamer.state()).motivation.started) == 1


async def test_a_persona_that_goes_by_the_place_of_a_goal_prefers_none(dreamer: World) -> None:
    dreamer.ollama.script.scores = ["pointless", "fair", "fair", "good", "good", "excellent"]
    async with dreamer:
        concluded = await inquiry_result(dreamer)
        assert {goal.score for goal in concluded.goals} == {0.5}
        asked = [call.user for call in dreamer.ollama.calls if call.asks == "scores"]
        assert len(asked) == len(set(asked)) == 2 * 4


async def test_with_goals_off_no_model_is_asked_and_nothing_is_waited_for(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with World(client, ollama, tmp_path, {**QUICKLY, "motivator.goals": False}) as world:
        await world.ask("Is it so?")
        calls = len(ollama.calls)

        async def saved() -> bool:
            return (await world.state()).keeping.saved_at is not None

        await until(saved)
        assert len(ollama.calls) == calls
        assert (await world.state()).next_inquiry() is None


async def test_a_goal_is_never_looked_for_during_a_pause(dreamer: World) -> None:
    dreamer.ollama.answering.clear()
    async with dreamer:
        await dreamer.ollama.until(lambda: len(dreamer.ollama.calls) == 1)
        await dreamer.update("pause", None, dict)
        dreamer.ollama.answering.set()
        await inquiry(dreamer).result()

        async def filed() -> bool:
            return not (await dreamer.state()).motivation.inquiry

        await until(filed)
        state = await dreamer.state()
        assert state.motivation.last == "no goal: the image is paused"
        assert state.queue == []
        assert state.next_inquiry() is None


async def test_a_task_of_a_person_goes_first(client: Client, ollama: FakeOllama, tmp_path: Path) -> None:
    settings = {**QUICKLY, "system.max_concurrent_tasks": 1}
    ollama.answering.clear()
    async with World(client, ollama, tmp_path, settings) as world:
        await inquiry_begun(world)
        await asyncio.gather(*(world.submit(f"Person {number}?", task_id=f"p{number}") for number in (1, 2)))
        ollama.answering.set()

        async def all_done() -> bool:
            return (await world.status()).finished == 3

        await until(all_done)
        ended = [task.task_id for task in await world.image.query("tasks", result_type=list[TaskView])]
        assert sorted(ended[:2]) == ["p1", "p2"]
        assert ended[2] == "goal-1"


async def inquiry_begun(world: World) -> None:
    await world.ollama.until(lambda: any(call.asks == "goals" for call in world.ollama.calls))


async def test_discord_calls_for_a_goal_and_is_its_reason(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script.labels = ["opposite"]
    settings = {**QUICKLY, "motivator.idle_after": "1h"}
    async with World(client, ollama, tmp_path, settings) as world:
        await world.ask("Is it hopeless?")
        await inquiry_begun(world)
        asked = next(call for call in ollama.calls if call.asks == "goals")
        assert 'the argument about "Is it hopeless?" ended at dissonance 1' in asked.user
        assert "- Is it hopeless?" in asked.user
        await inquiry(world).result()


async def test_a_persona_that_gives_no_usable_goal_is_left_out(dreamer: World) -> None:
    dreamer.ollama.fail("not_pulled", times=1, asks="goals")
    async with dreamer:
        concluded = await inquiry_result(dreamer)
        assert {goal.persona for goal in concluded.goals} == {"BABS", "BRICK", "ROBIN"}
        assert concluded.best is not None


async def test_without_any_goal_the_image_lives_on_and_says_why(dreamer: World) -> None:
    dreamer.ollama.fail("not_pulled", times=8, asks="goals")
    async with dreamer:
        concluded = await inquiry_result(dreamer)
        assert concluded.best is None
        assert "ALFRED: ModelNotPulled" in concluded.reason

        async def said() -> bool:
            return (await dreamer.state()).motivation.last.startswith("no goal: ALFRED: ModelNotPulled")

        await until(said)
        assert (await dreamer.ask("Still there?")).synthesis


async def inquiry_result(world: World) -> InquiryConcluded:
    await inquiry_begun(world)
    return await inquiry(world).result()


async def test_an_inquiry_that_is_terminated_is_noticed(dreamer: World) -> None:
    dreamer.ollama.answering.clear()
    async with dreamer:
        await inquiry_begun(dreamer)
        await inquiry(dreamer).terminate("by hand")
        dreamer.ollama.answering.set()

        async def noticed() -> bool:
            return "ended: terminated" in (await dreamer.state()).motivation.last

        await until(noticed)
