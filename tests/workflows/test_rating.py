"""What a person thinks of an answer counts once, wherever it is kept; the later opinion stands."""

from typing import Any

import pytest

from messages.image import Rated
from messages.requests import RateTask
from messages.tasks import Task
from testbed.world import World
from tests.workflows.image_states import NOW, a_log, a_state
from tests.workflows.refusing import refusal
from workflows import rating
from workflows.image_state import ImageState
from workflows.living_image import LivingImage
from workflows.observing import BATCH


async def rate(world: World, task_id: str, value: float, **more: str) -> None:
    rated = await world.update("rate_task", {"task_id": task_id, "rating": value, **more}, Rated)
    assert rated.accepted


async def assert_rated(world: World, value: float) -> None:
    """On the task, in its log and in its row, once each."""
    state = await world.state()
    (task,), (log,) = state.finished, state.window
    assert (task.rating, log.rating) == (value, value)
    (row,) = await world.image.query(LivingImage.observations)
    assert row.rating.n == 1
    assert row.rating.mean == pytest.approx(value)


async def test_an_opinion_is_kept_on_the_task_its_log_and_the_observations(world: World) -> None:
    result = await world.ask("Is it so?")
    await world.tasks_finished()
    await rate(world, result.task_id, 0.25, comment="too short", rated_by="Ada")
    await assert_rated(world, 0.25)
    (task,) = (await world.state()).finished
    assert (task.rating_comment, task.rated_by) == ("too short", "Ada")


async def test_the_later_opinion_stands(world: World) -> None:
    result = await world.ask("Is it so?")
    await world.tasks_finished()
    await rate(world, result.task_id, 0, comment="wrong")
    await rate(world, result.task_id, 1)
    await assert_rated(world, 1)
    assert (await world.state()).finished[0].rating_comment == ""


async def test_what_has_no_answer_cannot_be_rated(world: World) -> None:
    world.ollama.answering.clear()
    await world.submit("Is it so?", task_id="running")

    async def refused(message: Any) -> str:
        return (await refusal(world.update("rate_task", message, Rated))).message

    for nothing in (None, {}, {"task_id": "running"}, {"rating": 1}):
        assert "say which answer" in await refused(nothing)
    assert "no task unknown is among the latest 60" in await refused({"task_id": "unknown", "rating": 1})
    assert "has not finished" in await refused({"task_id": "running", "rating": 1})
    world.ollama.answering.set()
    await world.tasks_finished()
    world.ollama.fail("refused", times=1)
    await world.submit("And this?", task_id="failing")
    await world.tasks_finished()
    assert "it has no answer to rate" in await refused({"task_id": "failing", "rating": 0})


# --- without a server ---


def argued(state: ImageState, name: str) -> str:
    state.enqueue(Task(task_id=name, task="Why?", submitted_at=NOW))
    assert state.next_task() is not None
    assert state.finish(a_log(name, conditions="a" * 12), "", NOW)
    return name


def opinion(task_id: str, value: float) -> RateTask:
    return RateTask(task_id=task_id, rating=value)


def test_an_opinion_of_an_argument_whose_row_was_merged_counts_in_the_merged_one() -> None:
    state = a_state()
    rated = argued(state, "rated")
    rating.rate(state, opinion(rated, 0.2))
    for number in range(BATCH + 10):
        argued(state, f"t{number}")
    _, second = state.observing.rows
    assert state.observing._merge_oldest(lambda row: (row.digest, row.conditions))
    rating.rate(state, opinion(rated, 0.9))
    rating.rate(state, opinion("t45", 0.5))
    assert state.observing.rows == [second]
    assert second.rating.n == 2
    assert second.rating.mean == pytest.approx(0.7)


def test_an_opinion_of_an_argument_that_left_the_table_is_kept_on_the_task() -> None:
    state = a_state()
    rated = argued(state, "rated")
    for number in range(300):
        state.observing.add(a_log(f"t{number}", settings_digest=f"{number:012x}", conditions="a" * 12))
    assert state.observing.rows[0].digest != state.ledger.digest
    rating.rate(state, opinion(rated, 0.2))
    assert state.finished[0].rating == 0.2
    assert sum(row.rating.n for row in state.observing.rows) == 0


def test_an_opinion_survives_the_next_run_of_the_image() -> None:
    state = a_state()
    rated = argued(state, "rated")
    rating.rate(state, opinion(rated, 0.2))
    carried = ImageState.model_validate_json(state.model_dump_json())
    rating.rate(carried, opinion(rated, 0.8))
    assert (carried.finished[0].rating, carried.window[0].rating) == (0.8, 0.8)
    (row,) = carried.observing.rows
    assert row.rating.n == 1
    assert row.rating.mean == pytest.approx(0.8)
