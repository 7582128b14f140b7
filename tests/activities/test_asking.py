"""What models and model servers do beside answering, at the wire: think, wrap JSON, shorten prompts."""

import asyncio

import pytest

from activities.failures import FailureType
from activities.model_server.asking import THINKING_TOKENS
from activities.personas import LABEL_TOKENS, SCORE_TOKENS, Personas
from messages.calls import Judgement, Plan, Speech
from messages.goals import Scores, Scoring
from testbed.fake_ollama import FakeOllama
from testbed.model_habits import Habits
from tests.activities.asking import Attempt, a_call, failure_of

THINKING = ["field", "tags", "no_opening_tag"]
ENGLISH = "What would you say to a neighbour who asks? "
LONG = {"task": ENGLISH * 180, "thesis": ENGLISH * 600, "antithesis": "No."}
"""34,000 characters, as a task of 8 KiB makes for the last speaker."""


def limits(ollama: FakeOllama) -> list[int]:
    return [call.options["num_predict"] for call in ollama.calls]


def windows(ollama: FakeOllama) -> list[int]:
    return [call.options["num_ctx"] for call in ollama.calls]


# --- thinking -------------------------------------------------------------------------------------


@pytest.mark.parametrize("thinks", THINKING)
async def test_thinking_stands_in_no_answer_and_is_counted(
    ollama: FakeOllama, personas: Personas, thinks: str
) -> None:
    ollama.script.habits = Habits.model_validate({"thinks": thinks, "thinking_tokens": 20})
    speech: Speech = await Attempt().run(personas.speak, a_call(ollama.url))
    assert speech.text == "This is answer 1, and it is a short one."
    assert speech.usage.tokens_out >= 30
    assert len(ollama.calls) == 1
    plan: Plan = await Attempt().run(personas.plan, a_call(ollama.url, "plan"))
    assert plan.plan == "Plan 2: weigh the reasons, then decide."


@pytest.mark.parametrize("thinks", THINKING)
async def test_a_judge_that_thinks_is_given_room_once_it_is_known(
    ollama: FakeOllama, personas: Personas, thinks: str
) -> None:
    ollama.script.habits = Habits.model_validate({"thinks": thinks, "thinking_tokens": 700})
    first: Judgement = await Attempt().run(personas.judge_dissonance, a_call(ollama.url, "dissonance"))
    assert first.dissonance.label == "partly_different"
    assert first.usage.tokens_out >= LABEL_TOKENS + 700
    assert first.usage.tokens_in == 2 * (await judged(ollama, personas)).usage.tokens_in
    assert limits(ollama) == [LABEL_TOKENS, *[LABEL_TOKENS + THINKING_TOKENS] * 2]


async def judged(ollama: FakeOllama, personas: Personas) -> Judgement:
    judgement: Judgement = await Attempt().run(personas.judge_dissonance, a_call(ollama.url, "dissonance"))
    return judgement


async def test_who_scores_goals_and_thinks_is_given_room(ollama: FakeOllama, personas: Personas) -> None:
    ollama.script.habits = Habits(thinks="field", thinking_tokens=700)
    call = a_call(ollama.url, "goal_scores", fields={"who": "ROBIN", "goals": "1. Trees?\n2. Roofs?"})
    scores: Scores = await Attempt().run(personas.score_goals, Scoring(call=call, goals=["Trees?", "Roofs?"]))
    assert scores.scores == [0.3, 0.3]
    assert limits(ollama) == [SCORE_TOKENS * 2, SCORE_TOKENS * 2 + THINKING_TOKENS]


@pytest.mark.parametrize(
    ("thinks", "tokens", "kind"),
    [
        ("unclosed", 20, "AnswerEmpty"),
        ("unclosed", 9000, "AnswerCutOff"),
        ("field", 9000, "AnswerCutOff"),
        ("tags", 9000, "AnswerCutOff"),
        ("no_opening_tag", 9000, "AnswerCutOff"),
    ],
)
async def test_only_thinking_is_no_answer_and_the_advice_is_true(
    ollama: FakeOllama, personas: Personas, thinks: str, tokens: int, kind: FailureType
) -> None:
    ollama.script.habits = Habits.model_validate({"thinks": thinks, "thinking_tokens": tokens})
    failure = await failure_of(Attempt(), personas.judge_dissonance, a_call(ollama.url, "dissonance"))
    assert failure.type == kind
    assert "thought although told not to" in failure.message
    assert "use a model that does not think" in failure.message
    assert "max_answer_tokens" not in failure.message


async def test_a_judge_that_writes_only_white_space_does_not_think_and_is_told_apart(
    ollama: FakeOllama, personas: Personas
) -> None:
    ollama.script.says = {"dissonance": "\n" * 64}
    ollama.fail("cut_off")
    failure = await failure_of(Attempt(), personas.judge_dissonance, a_call(ollama.url, "dissonance"))
    assert failure.type == "AnswerCutOff"
    assert "was cut off at 64 tokens; use a model that keeps to JSON" in failure.message
    assert len(ollama.calls) == 1


@pytest.mark.parametrize(
    "refusal", ['"llama3.1:8b" does not support thinking', "unknown field: Think", "think value false is not"]
)
async def test_a_server_that_refuses_the_field_think_is_asked_without_it_from_then_on(
    ollama: FakeOllama, personas: Personas, refusal: str
) -> None:
    ollama.script.habits = Habits(refuses_think=refusal)
    for _ in range(2):
        speech: Speech = await Attempt().run(personas.speak, a_call(ollama.url))
        assert speech.text == "This is answer 1, and it is a short one."
    assert [call.think for call in ollama.calls] == [False, None, None]


# --- what stands in an answer ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "around",
    [
        "```json\nANSWER\n```",
        "```\nANSWER```",
        "Sure! Here is the JSON you asked for:\n\nANSWER",
        "ANSWER\n\nI chose this because {braces} are nice.",
        "I could say {}, {not json} or this: ANSWER ANSWER",
    ],
)
async def test_json_is_read_whatever_stands_around_it(
    ollama: FakeOllama, personas: Personas, around: str
) -> None:
    ollama.script.habits = Habits(around=around)
    assert (await judged(ollama, personas)).dissonance.label == "partly_different"
    plan: Plan = await Attempt().run(personas.plan, a_call(ollama.url, "plan"))
    assert plan.plan.startswith("Plan 2")


@pytest.mark.parametrize(
    "said",
    [
        "{" * 16_000,
        '{"label":' * 1_700,
        '{"label": ' + "[" * 15_000,
        '{"label": NaN}',
        '{"label": "same", "label": "opposite"}',
        '{"label": "same"} or rather {"label": "opposite"}',
        '{"label": ' + "9" * 5_000 + "}",
    ],
)
async def test_json_that_says_nothing_definite_is_a_typed_failure(
    ollama: FakeOllama, personas: Personas, said: str
) -> None:
    ollama.script.says = {"dissonance": said}
    failure = await failure_of(Attempt(), personas.judge_dissonance, a_call(ollama.url, "dissonance"))
    assert failure.type == "AnswerNotJson"


async def test_half_a_character_is_replaced_and_can_be_sent_on(
    ollama: FakeOllama, personas: Personas
) -> None:
    ollama.fail("surrogate", times=2)
    speech: Speech = await Attempt().run(personas.speak, a_call(ollama.url))
    assert "Half a \ufffd face." in speech.text
    plan: Plan = await Attempt().run(personas.plan, a_call(ollama.url, "plan"))
    assert plan.plan == "Half a \ufffd face."
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


async def test_half_a_character_that_the_model_escapes_itself_is_replaced(
    ollama: FakeOllama, personas: Personas
) -> None:
    ollama.script.says = {"plan": '{"plan": "Half a \\ud83d face.", "needs_research": false}'}
    plan: Plan = await Attempt().run(personas.plan, a_call(ollama.url, "plan"))
    assert plan.plan == "Half a \ufffd face."


async def test_a_line_end_inside_of_an_answer_is_no_end_of_a_line(
    ollama: FakeOllama, personas: Personas
) -> None:
    ollama.fail("line_ends")
    speech: Speech = await Attempt().run(personas.speak, a_call(ollama.url))
    assert speech.text == "One\u2028two\x85three four."


# --- the window -----------------------------------------------------------------------------------


async def test_a_call_asks_for_the_window_that_its_prompt_needs(
    ollama: FakeOllama, personas: Personas
) -> None:
    for fields in ({"task": "Tea?", "thesis": "Tea."}, LONG, {"task": "Tea?", "thesis": "Tea."}):
        await Attempt().run(personas.speak, a_call(ollama.url, fields=fields))
    # The last one keeps the larger window: for another one the model would be loaded anew.
    assert windows(ollama) == [4096, 16384, 16384]


async def test_no_more_than_context_tokens_is_asked_for(ollama: FakeOllama, personas: Personas) -> None:
    call = a_call(ollama.url, fields=LONG, context_tokens=12_000)
    speech: Speech = await Attempt().run(personas.speak, call)
    assert speech.usage.tokens_in > 8_192
    assert windows(ollama) == [12_000]


async def test_text_that_takes_more_tokens_than_thought_is_asked_for_again_in_a_larger_window(
    ollama: FakeOllama, personas: Personas
) -> None:
    ollama.script.habits = Habits(bytes_per_token=1)
    fields = {"task": "Tea?", "thesis": "x9Q" * 3_000}
    speech: Speech = await Attempt().run(personas.speak, a_call(ollama.url, fields=fields))
    assert speech.text.startswith("This is answer")
    assert windows(ollama) == [4096, 8192, 16384]
    assert speech.usage.tokens_in > 4096 + 8192


async def test_a_prompt_that_fills_the_largest_window_fails_by_name(
    ollama: FakeOllama, personas: Personas
) -> None:
    failure = await failure_of(
        Attempt(), personas.speak, a_call(ollama.url, fields=LONG, context_tokens=8192)
    )
    assert failure.type == "PromptTooLong"
    assert failure.non_retryable
    assert "raise [models] context_tokens" in failure.message
    assert "8192 is all that it may take" in failure.message


async def test_a_prompt_that_is_surely_too_long_is_not_sent(ollama: FakeOllama, personas: Personas) -> None:
    failure = await failure_of(
        Attempt(), personas.speak, a_call(ollama.url, fields=LONG, context_tokens=4096)
    )
    assert failure.type == "PromptTooLong"
    assert ollama.calls == []


@pytest.mark.parametrize("window", [2050, 4096, 8192])
@pytest.mark.parametrize("tells_window", [True, False])
async def test_a_server_that_takes_a_window_of_its_own_is_found_out(
    ollama: FakeOllama, personas: Personas, window: int, tells_window: bool
) -> None:
    ollama.script.habits = Habits(window=window, tells_window=tells_window)
    call = a_call(ollama.url, fields=LONG)
    if window == 8192 and not tells_window:
        # As many tokens as such a text may well be, and nobody says otherwise.
        await Attempt().run(personas.speak, call)
        return
    failure = await failure_of(Attempt(), personas.speak, call)
    assert failure.type == "PromptTooLong"
    assert f"read only {window} tokens" in failure.message
    assert "let a model with a longer context answer" in failure.message


async def test_a_server_that_does_not_count_what_it_has_cached_is_believed(
    ollama: FakeOllama, personas: Personas
) -> None:
    ollama.script.habits = Habits(counts_cached=False)
    speech: Speech = await Attempt().run(personas.speak, a_call(ollama.url, fields=LONG))
    assert speech.usage.tokens_in == 2


@pytest.mark.parametrize(
    "refusal",
    [
        "request (9012 tokens) exceeds the available context size (8192 tokens), try increasing it",
        "the input length exceeds the context length",
    ],
)
async def test_a_server_that_refuses_a_long_prompt_is_understood(
    ollama: FakeOllama, personas: Personas, refusal: str
) -> None:
    ollama.script.habits = Habits(refuses=refusal)
    failure = await failure_of(Attempt(), personas.speak, a_call(ollama.url, fields=LONG))
    assert failure.type == "PromptTooLong"
    assert "shorten the task" in failure.message


async def test_what_many_calls_at_once_have_learnt_is_known_to_the_next(
    ollama: FakeOllama, personas: Personas
) -> None:
    ollama.script.habits = Habits(thinks="tags", thinking_tokens=300, refuses_think="what is think?")
    calls = [a_call(ollama.url, "dissonance", max_concurrent_calls=6) for _ in range(6)]
    ollama.answering.clear()
    judging = asyncio.gather(*(Attempt().run(personas.judge_dissonance, call) for call in calls))
    await ollama.until(lambda: len(ollama.calls) == 12)
    ollama.answering.set()
    judgements = await judging
    assert {judgement.dissonance.label for judgement in judgements} == {"partly_different"}
    # Each has made the same mistakes: none had finished when the others began. The next one makes none.
    assert len(ollama.calls) == 18
    await judged(ollama, personas)
    assert len(ollama.calls) == 19
