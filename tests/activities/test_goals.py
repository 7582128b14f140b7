"""What the personas imagine and how they score it, over the wire."""

from typing import get_args

import pytest

from activities.goals import Worth, is_near
from activities.personas import Personas
from messages.goals import Imagined, Imagining, Scores, Scoring
from testbed.fake_ollama import FakeOllama
from tests.activities.asking import Attempt, a_call, failure_of

WINTER = "Should a school day begin at noon in winter?"
TRAMS = "Should trams be free on Sundays?"


def imagining(ollama: FakeOllama, recent: list[str]) -> Imagining:
    fields = {"who": "ROBIN", "reason": "nothing has happened", "recent": "nothing yet"}
    return Imagining(call=a_call(ollama.url, "goals", fields=fields), recent=recent)


def scoring(ollama: FakeOllama, goals: list[str]) -> Scoring:
    listed = "\n".join(f"{number}. {goal}" for number, goal in enumerate(goals, 1))
    return Scoring(
        call=a_call(ollama.url, "goal_scores", fields={"who": "ROBIN", "goals": listed}), goals=goals
    )


async def test_goals_come_with_their_reasons(ollama: FakeOllama, personas: Personas) -> None:
    ollama.script.goals = [WINTER, TRAMS]
    imagined: Imagined = await Attempt().run(personas.imagine_goals, imagining(ollama, []))
    assert [(goal.persona, goal.goal) for goal in imagined.goals] == [("ROBIN", WINTER), ("ROBIN", TRAMS)]
    assert all(goal.why for goal in imagined.goals)
    assert imagined.near == 0
    assert imagined.usage.tokens_out


@pytest.mark.parametrize(
    "recent", [WINTER, "In winter, should a school day begin at noon?", WINTER.upper()], ids=str
)
async def test_a_goal_near_to_a_recent_one_is_no_goal(
    ollama: FakeOllama, personas: Personas, recent: str
) -> None:
    ollama.script.goals = [WINTER, TRAMS]
    imagined: Imagined = await Attempt().run(personas.imagine_goals, imagining(ollama, [recent]))
    assert [goal.goal for goal in imagined.goals] == [TRAMS]
    assert imagined.near == 1


async def test_an_example_of_the_prompt_is_no_goal(ollama: FakeOllama, personas: Personas) -> None:
    ollama.script.goals = ["May a son read the letters of his dead father?", TRAMS]
    imagined: Imagined = await Attempt().run(personas.imagine_goals, imagining(ollama, []))
    assert ([goal.goal for goal in imagined.goals], imagined.near) == ([TRAMS], 1)
    assert ollama.script.goals[0] in ollama.calls[-1].user


async def test_a_goal_imagined_twice_at_once_is_one_goal(ollama: FakeOllama, personas: Personas) -> None:
    ollama.script.goals = [WINTER, WINTER]
    imagined: Imagined = await Attempt().run(personas.imagine_goals, imagining(ollama, []))
    assert len(imagined.goals) == 1


def test_two_questions_about_different_things_are_not_near() -> None:
    assert not is_near(WINTER, [TRAMS, "Should a school teach chess?"])


async def test_every_goal_gets_a_score_in_its_place(ollama: FakeOllama, personas: Personas) -> None:
    ollama.script.scores = {WINTER: "pointless", TRAMS: "excellent"}
    scores: Scores = await Attempt().run(personas.score_goals, scoring(ollama, [TRAMS, WINTER, "Another?"]))
    assert scores.scores == [1.0, 0.0, 0.3]
    assert ollama.calls[0].scores == 3
    assert ollama.calls[0].options["temperature"] == 0


async def test_each_label_is_worth_more_than_the_one_before_it(
    ollama: FakeOllama, personas: Personas
) -> None:
    labels = list(get_args(Worth))
    ollama.script.scores = labels
    scores = (await Attempt().run(personas.score_goals, scoring(ollama, labels))).scores
    assert scores == sorted(set(scores))
    assert (len(scores), scores[0], scores[-1]) == (len(labels), 0.0, 1.0)


async def test_scores_outside_the_labels_are_no_answer(ollama: FakeOllama, personas: Personas) -> None:
    ollama.fail("unknown_label", asks="scores")
    failure = await failure_of(Attempt(), personas.score_goals, scoring(ollama, [TRAMS]))
    assert failure.type == "AnswerNotJson"
