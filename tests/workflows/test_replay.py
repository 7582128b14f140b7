"""Histories recorded by an earlier version replay with the code of today, to the same words and ends."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

import pytest
from temporalio.client import WorkflowHistory
from temporalio.workflow import NondeterminismError

from messages.common import LoopState, Outcome
from runtime.workers import WORKFLOWS
from tests.workflows.broken_dialogues import AlwaysResearching, DeafDialogue
from tests.workflows.replayed import deeds_of, replay, unsaid

HISTORIES = Path(__file__).parents[1] / "histories"
RECORDED = sorted(path.stem for path in HISTORIES.glob("*.json"))


def recorded(title: str) -> WorkflowHistory:
    history = json.loads((HISTORIES / f"{title}.json").read_text())
    started = history["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], history)


def test_every_workflow_is_recorded_in_every_way_it_may_end() -> None:
    ends = defaultdict[str, list[Any]](list)
    for history in map(recorded, RECORDED):
        started = history.events[0].workflow_execution_started_event_attributes
        ends[started.workflow_type.name] += [end for ((end, *_),) in deeds_of(history).get("ends", [])]
    assert set(ends) == {workflow.__name__ for workflow in WORKFLOWS}
    assert {end["state"] for end in ends["PhilosophicalLoop"]} == set(get_args(LoopState))
    argued = {"failed" if isinstance(end, str) else end["outcome"] for end in ends["Dialogue"]}
    assert argued == set(get_args(Outcome))
    assert {end.get("phase", "continued as new") for end in ends["LivingImage"]} == {
        "continued as new",
        "retired",
    }


@pytest.mark.parametrize("title", RECORDED)
async def test_a_recorded_history_replays_and_does_the_same_with_the_same_words(title: str) -> None:
    history = recorded(title)
    assert unsaid(deeds_of(history), await replay(history, list(WORKFLOWS))) == []


@pytest.mark.parametrize(
    ("title", "end"),
    [
        ("loop-approved-by-update", "approved"),
        ("loop-approved-by-signal", "approved"),
        ("loop-rejected", "rejected"),
        ("loop-expired", "expired"),
        ("loop-stale", "stale"),
        ("loop-no-proposal", "no_proposal"),
        ("loop-failed", "failed"),
    ],
)
async def test_a_replayed_loop_comes_to_its_end_and_tells_the_image(title: str, end: str) -> None:
    deeds = await replay(recorded(title), list(WORKFLOWS))
    ((result,),) = deeds["ends"]
    assert result[0]["state"] == end
    ((signal, image, told),) = deeds["signals"]
    assert (signal, image, told) == ("loop_concluded", "reflecting", result)


@pytest.mark.parametrize(
    ("title", "end", "told"),
    [
        ("approved-after-obstacles", "approved", [True, False] * 2),
        ("failed-by-an-obstacle", "failed", [True]),
    ],
)
async def test_a_replayed_loop_that_waited_tells_the_image_of_each_obstacle(
    title: str, end: str, told: list[bool]
) -> None:
    deeds = await replay(recorded(f"loop-{title}"), list(WORKFLOWS))
    *waits, concluded = deeds["signals"]
    assert [bool(news[0]["obstacle"]) for signal, _, news in waits if signal == "loop_waits"] == told
    assert (concluded[0], concluded[2][0]["state"], concluded[2][0]["decided_by"]) == (
        "loop_concluded",
        end,
        "Ada",
    )


@pytest.mark.parametrize(
    ("title", "outcome", "turns", "missing"),
    [
        ("dialogue-converged-with-research", "converged", 2, 0),
        ("dialogue-max-turns", "max_turns", 2, 0),
        ("dialogue-dissonance-missing", "converged", 2, 1),
    ],
)
async def test_a_replayed_dialogue_comes_to_its_outcome(
    title: str, outcome: str, turns: int, missing: int
) -> None:
    (((result,),),) = (await replay(recorded(title), list(WORKFLOWS)))["ends"]
    assert (result["outcome"], result["log"]["turn_count"]) == (outcome, turns)
    assert sum(dissonance["value"] is None for dissonance in result["dissonance"]) == missing


async def test_a_replayed_dialogue_that_failed_fails_with_the_type_and_tells_the_image() -> None:
    deeds = await replay(recorded("dialogue-failed"), list(WORKFLOWS))
    assert deeds["ends"][0][0][0] == "ModelNotPulled"
    ((signal, _, (told,)),) = deeds["signals"]
    assert (signal, told["log"]["outcome"]) == ("task_completed", "failed")
    assert told["failure"].startswith("ModelNotPulled: ")


async def test_a_replayed_image_carries_its_state_into_the_next_run_and_retires_in_the_last() -> None:
    runs = [title for title in RECORDED if title.startswith("living-image-a-life-run-")]
    *earlier, (((end,),),) = [(await replay(recorded(title), list(WORKFLOWS)))["ends"] for title in runs]
    carried = [start["state"] for (((start,),),) in earlier]
    assert [state["runs"] for state in carried] == list(range(2, len(runs) + 1))
    assert [entry["state"] for entry in carried[-1]["ledger"]["amendments"]] == [
        "adopted",
        "no_proposal",
        "approved",
    ]
    assert (end["phase"], end["runs"], end["running"], end["queue"]) == ("retired", len(runs), [], [])
    assert [task["task_id"] for task in carried[-1]["finished"]] == [
        task["task_id"] for task in end["finished"]
    ][: carried[-1]["finished_count"]]
    assert (end["finished_count"], end["failed_count"]) == (7, 1)


@pytest.mark.parametrize(
    ("title", "recalled", "means"),
    [
        ("remembering-trees", [], "embeddings nomic-embed-text"),
        ("remembering-more-trees", ["remembering-trees"], "embeddings nomic-embed-text"),
        (
            "remembering-trees-by-words",
            ["remembering-trees", "remembering-more-trees"],
            "shared words (no embedding model nomic-embed-text)",
        ),
    ],
)
async def test_a_replayed_dialogue_says_what_it_recalled(title: str, recalled: list[str], means: str) -> None:
    (((result,),),) = (await replay(recorded(f"dialogue-{title}"), list(WORKFLOWS)))["ends"]
    assert ({item["task_id"] for item in result["recalled"]}, result["recalled_by"]) == (set(recalled), means)


async def test_a_replayed_image_dreams_saves_itself_and_goes_back_to_its_first_settings() -> None:
    (((end,),),) = (await replay(recorded("living-image-dreaming-run-1"), list(WORKFLOWS)))["ends"]
    assert [(task["task_id"], task["origin"]) for task in end["finished"]] == [("goal-1", "motivator")]
    assert [entry["source"] for entry in end["ledger"]["amendments"]] == ["person", "revert to revision 1"]
    assert end["ledger"]["settings"]["autopoiesis"]["max_turns"] == 2
    assert end["keeping"]["generation"] >= 2


async def test_a_replayed_image_saved_itself_but_not_as_a_newborn() -> None:
    deeds = await replay(recorded("living-image-newborn-run-1"), list(WORKFLOWS))
    # After its first task, and when it retired.
    assert [deed[0] for deed in deeds["activities"]].count("write_snapshot") == 2


async def test_a_replayed_inquiry_asks_each_persona_in_both_orders_and_takes_the_best_goal() -> None:
    deeds = await replay(recorded("inquiry-a-goal"), list(WORKFLOWS))
    (((end,),),) = deeds["ends"]
    assert end["best"]["score"] == max(goal["score"] for goal in end["goals"])
    assert [deed[0] for deed in deeds["activities"]].count("score_goals") == 2 * 4


# --- and if somebody breaks a workflow? ---


async def test_a_dialogue_that_calls_another_persona_fails_the_replay() -> None:
    with pytest.raises(NondeterminismError):
        await replay(recorded("dialogue-max-turns"), [AlwaysResearching])


async def test_a_dialogue_that_says_other_words_to_the_same_personas_is_noticed_too() -> None:
    history = recorded("dialogue-max-turns")
    replayed, original = await replay(history, [DeafDialogue]), deeds_of(history)
    assert [deed[0] for deed in replayed["activities"]] == [deed[0] for deed in original["activities"]]
    assert unsaid(original, replayed)
