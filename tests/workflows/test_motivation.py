"""When an image looks for a goal of its own, and what becomes of it."""

from datetime import timedelta

import pytest

from configuration import MotivatorSettings
from messages.goals import Goal, InquiryConcluded
from messages.tasks import Task
from tests.workflows.image_states import NOW, SHIPPED, a_log, a_state
from workflows.image_state import MOTIVATOR, ImageState
from workflows.motivation import DAY, Motivation

ON = MotivatorSettings(goals=True, goals_per_day=2)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def state() -> ImageState:
    state = a_state()
    state.ledger.settings = SHIPPED.with_changes({"motivator.goals": True, "motivator.goals_per_day": 2})
    return state


def a_task(task_id: str, origin: str = "person") -> Task:
    return Task(task_id=task_id, task="Is it so?", task_type="question", origin=origin, submitted_at=NOW)


def concluded(state: ImageState, goal: str = "Should trams be free?") -> InquiryConcluded:
    best = Goal(persona="ROBIN", goal=goal, why="Nobody asked.", score=1.0)
    return InquiryConcluded(inquiry_id=state.motivation.inquiry, best=best, goals=[best])


# --- when ---


def test_without_goals_there_is_never_anything_to_wait_for() -> None:
    assert Motivation(discord="it").due(MotivatorSettings(), NOW) is None


def test_an_idle_image_looks_for_a_goal_after_a_while_and_after_discord_at_once() -> None:
    assert Motivation().due(ON, NOW) == NOW + ON.idle_after
    assert Motivation(discord="it").due(ON, NOW) == NOW


def test_no_more_goals_a_day_than_are_allowed() -> None:
    motivation = Motivation()
    for hours in (0, 5):
        motivation.open("image", ON, NOW + timedelta(hours=hours))
        motivation.conclude("a goal")
    assert motivation.due(ON, NOW + timedelta(hours=6)) == NOW + DAY
    assert motivation.due(ON, NOW + DAY + MINUTE) == NOW + DAY + MINUTE + ON.idle_after


def test_one_inquiry_at_a_time() -> None:
    motivation = Motivation()
    assert motivation.open("image", ON, NOW) == ("image/inquiry/1", "nothing has happened for 0:01:00")
    assert motivation.due(ON, NOW) is None


@pytest.mark.parametrize(("dissonance", "reason"), [(0.81, True), (0.8, False), (None, False)])
def test_only_an_argument_above_the_threshold_calls_for_a_goal(
    state: ImageState, dissonance: float | None, reason: bool
) -> None:
    state.enqueue(a_task("x"))
    state.next_task()
    state.finish(a_log("x").model_copy(update={"final_dissonance": dissonance}), "", NOW)
    assert bool(state.motivation.discord) is reason


def test_while_there_is_work_or_a_pause_no_goal_is_looked_for(state: ImageState) -> None:
    assert state.next_inquiry() is not None
    state.phase = "paused"
    assert state.next_inquiry() is None
    state.phase = "active"
    state.enqueue(a_task("x"))
    assert state.next_inquiry() is None
    state.next_task()
    assert state.next_inquiry() is None


# --- what becomes of it ---


def test_a_goal_waits_below_every_task_of_a_person(state: ImageState) -> None:
    state.motivation.open("image", ON, NOW)
    state.enqueue(a_task("first"))
    state.conclude_inquiry(concluded(state), NOW)
    state.enqueue(a_task("second"))
    assert [task.task_id for task in state.queue] == ["first", "second", "goal-1"]
    assert (state.queue[-1].origin, state.queue[-1].reason) == (MOTIVATOR, "ROBIN: Nobody asked.")
    assert state.motivation.recent == ["Should trams be free?"]
    assert "Should trams be free?" in state.argued_lately()


def test_a_goal_that_comes_during_a_pause_is_not_queued(state: ImageState) -> None:
    state.motivation.open("image", ON, NOW)
    state.phase = "paused"
    state.conclude_inquiry(concluded(state), NOW)
    assert state.queue == []
    assert state.motivation.last == "no goal: the image is paused"
    assert state.motivation.inquiry == ""


def test_years_of_goals_take_no_more_room_than_a_week(state: ImageState) -> None:
    for day in range(400):
        state.motivation.open("image", ON, NOW + day * DAY)
        state.motivation.conclude("goal", "g" * 300)
    assert len(state.motivation.model_dump_json()) < 10_000
