"""The persona activities over real HTTP against the scripted server: answers, failures, heartbeats, slots."""

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.failures import MOST_ATTEMPTS, PAUSES, FailureType
from activities.model_server.backend import ModelBackend
from activities.personas import Personas
from connection.model_server import pulled_models
from messages.calls import Judgement, PersonaCall, Plan, Speech
from testbed.fake_ollama import Asks, FakeOllama, FaultKind
from testbed.ports import free_port
from tests.activities.asking import Attempt, a_call, failure_of

# --- answers --------------------------------------------------------------------------------------


async def test_a_plan_says_whether_research_is_needed(ollama: FakeOllama, personas: Personas) -> None:
    ollama.script.needs_research = True
    plan: Plan = await Attempt().run(personas.plan, a_call(ollama.url, "plan"))
    assert plan.plan.startswith("Plan 1")
    assert plan.needs_research


async def test_a_speech_comes_with_what_it_took(ollama: FakeOllama, personas: Personas) -> None:
    speech: Speech = await Attempt().run(personas.speak, a_call(ollama.url))
    assert speech.text == "This is answer 1, and it is a short one."
    assert speech.usage.tokens_in > 20
    assert speech.usage.tokens_out == 10
    assert speech.usage.model_backend == "ollama llama3.1:8b"
    assert ollama.calls[0].options == {"temperature": 0.6, "num_predict": 50, "num_ctx": 4096}


@pytest.mark.parametrize(
    ("label", "value"), [("same", 0.0), ("partly_different", 0.3), ("unrelated", 0.7), ("opposite", 1.0)]
)
async def test_a_label_becomes_its_dissonance(
    ollama: FakeOllama, personas: Personas, label: str, value: float
) -> None:
    ollama.script.labels = [label]
    judgement: Judgement = await Attempt().run(personas.judge_dissonance, a_call(ollama.url, "dissonance"))
    assert judgement.dissonance.label == label
    assert judgement.dissonance.value == value
    assert judgement.dissonance.missing == ""
    assert ollama.calls[0].options["temperature"] == 0


async def test_an_embedded_model_answers_for_every_persona(ollama: FakeOllama) -> None:
    personas = Personas(ModelBackend(kind="embedded", host=ollama.url, model="tiny"))
    speech: Speech = await Attempt().run(personas.speak, a_call("http://elsewhere.invalid:1"))
    assert ollama.calls[0].model == "tiny"
    assert speech.usage.model_backend == "embedded tiny (small model, for trying out)"
    await personas.close()


async def test_without_a_host_in_the_settings_ollama_host_is_asked(
    ollama: FakeOllama, personas: Personas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{ollama.port}")
    await Attempt().run(personas.speak, a_call(""))
    assert len(ollama.calls) == 1


async def test_no_proxy_is_asked_for_a_model_on_this_machine(
    ollama: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    personas = Personas(ModelBackend())
    await Attempt().run(personas.speak, a_call(ollama.url))
    assert len(ollama.calls) == 1
    assert await pulled_models(ollama.url)
    await personas.close()


def test_a_banner_names_each_model_once() -> None:
    assert ModelBackend().describe("a", "b", "a") == "ollama a, b"


def test_an_embedded_backend_without_a_host_is_refused() -> None:
    with pytest.raises(ValueError, match="needs its host and its name"):
        ModelBackend(kind="embedded", model="tiny")


async def test_edited_prompts_are_what_the_model_hears(ollama: FakeOllama, tmp_path: Path) -> None:
    path = tmp_path / "prompts.toml"
    path.write_text("[antithesis]\nsystem = 'You are ROBIN.'\nuser = 'What of {task}?'\n")
    personas = Personas(ModelBackend(), prompts=path)
    await Attempt().run(personas.speak, a_call(ollama.url))
    assert (ollama.calls[0].system, ollama.calls[0].user) == ("You are ROBIN.", "What of Tea or coffee??")
    await personas.close()


# --- failures -------------------------------------------------------------------------------------

FAILURES: list[tuple[FaultKind, Asks, FailureType]] = [
    ("not_pulled", "text", "ModelNotPulled"),
    ("refused", "text", "ModelRefused"),
    ("server_error", "text", "ModelServerError"),
    ("error_midway", "text", "ModelServerError"),
    ("not_ollama", "text", "ModelServerError"),
    ("drop", "text", "ModelUnreachable"),
    ("no_end", "text", "AnswerCutOff"),
    ("cut_off", "text", "AnswerCutOff"),
    ("cut_off", "plan", "AnswerCutOff"),
    ("too_long", "text", "AnswerCutOff"),
    ("empty", "text", "AnswerEmpty"),
    ("empty", "dissonance", "AnswerEmpty"),
    ("not_json", "plan", "AnswerNotJson"),
    ("not_json", "dissonance", "AnswerNotJson"),
    ("unknown_label", "dissonance", "AnswerNotJson"),
]


@pytest.mark.parametrize(("fault", "asks", "kind"), FAILURES)
async def test_a_failure_has_its_type_its_pauses_and_its_last_attempt(
    ollama: FakeOllama, personas: Personas, fault: FaultKind, asks: Asks, kind: FailureType
) -> None:
    activity, words = {
        "plan": (personas.plan, "plan"),
        "dissonance": (personas.judge_dissonance, "dissonance"),
        "text": (personas.speak, "antithesis"),
    }[asks]
    ollama.fail(fault, times=10)
    call = a_call(ollama.url, words)
    for earlier, pause in enumerate(PAUSES[kind]):
        failure = await failure_of(Attempt({kind: earlier}), activity, call)
        assert failure.type == kind
        assert not failure.non_retryable
        assert failure.next_retry_delay == timedelta(seconds=pause)
    last = await failure_of(Attempt({kind: len(PAUSES[kind])}), activity, call)
    assert last.type == kind
    assert last.non_retryable
    assert ollama.url in last.message
    assert call.model in last.message
    assert "\n" not in last.message


async def test_a_model_server_may_take_three_minutes_to_come_back(personas: Personas) -> None:
    call, pauses = a_call(f"http://127.0.0.1:{free_port()}"), list[timedelta]()
    while True:
        failure = await failure_of(Attempt({"ModelUnreachable": len(pauses)}), personas.speak, call)
        if failure.non_retryable:
            break
        assert failure.next_retry_delay is not None
        pauses.append(failure.next_retry_delay)
    assert timedelta(seconds=150) <= sum(pauses, timedelta()) <= timedelta(seconds=240)


async def test_a_model_that_is_not_pulled_is_never_tried_again(
    ollama: FakeOllama, personas: Personas
) -> None:
    ollama.script.models = ["another"]
    failure = await failure_of(Attempt(), personas.speak, a_call(ollama.url))
    assert failure.type == "ModelNotPulled"
    assert failure.non_retryable
    assert "`ollama pull llama3.1:8b`" in failure.message


@pytest.mark.parametrize("host", ["http://nowhere.invalid:11434", "http://127.0.0.1:{}"])
async def test_a_server_that_is_not_there_is_unreachable(personas: Personas, host: str) -> None:
    host = host.format(free_port())
    failure = await failure_of(Attempt(), personas.speak, a_call(host))
    assert failure.type == "ModelUnreachable"
    assert host in failure.message
    assert "1 of 8 attempts, the next in 1 s" in failure.message


async def test_a_restarted_server_is_found_again(personas: Personas) -> None:
    async with FakeOllama(port=free_port()) as first:
        await Attempt().run(personas.speak, a_call(first.url))
    assert (await failure_of(Attempt(), personas.speak, a_call(first.url))).type == "ModelUnreachable"
    async with FakeOllama(port=first.port) as second:
        await Attempt().run(personas.speak, a_call(second.url))
        assert len(second.calls) == 1


async def test_an_address_that_is_none_is_a_typed_failure(personas: Personas) -> None:
    failure = await failure_of(Attempt(), personas.speak, a_call("http://127.0.0.1:port"))
    assert failure.type == "ModelAddressBroken"
    assert failure.non_retryable
    assert "correct [models] host" in failure.message


async def test_a_model_that_takes_too_long_is_too_slow_and_its_call_ends(
    ollama: FakeOllama, personas: Personas
) -> None:
    ollama.fail("slow", times=2)
    call = a_call(ollama.url, timeout_seconds=0.2)
    first = await failure_of(Attempt(), personas.speak, call)
    assert first.type == "ModelTooSlow"
    assert not first.non_retryable
    last = await failure_of(Attempt({"ModelTooSlow": 1}), personas.speak, call)
    assert last.non_retryable
    assert "0.2 s" in last.message
    await ollama.until(lambda: all(call.outcome == "abandoned" for call in ollama.calls))


async def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    ollama: FakeOllama, personas: Personas
) -> None:
    ollama.fail("too_long")
    failure = await failure_of(Attempt(), personas.speak, a_call(ollama.url))
    assert failure.type == "AnswerCutOff"
    assert "at most 16384 are read" in failure.message


async def test_broken_prompts_are_never_tried_again(ollama: FakeOllama, tmp_path: Path) -> None:
    personas = Personas(ModelBackend(), prompts=tmp_path / "prompts.toml")
    failure = await failure_of(Attempt(), personas.speak, a_call(ollama.url))
    assert failure.type == "PromptsBroken"
    assert failure.non_retryable
    assert str(tmp_path) in failure.message
    assert ollama.calls == []


async def test_other_failures_use_up_none_of_the_attempts(ollama: FakeOllama, personas: Personas) -> None:
    ollama.fail("empty")
    attempt = Attempt({"ModelUnreachable": 6}, number=7)
    failure = await failure_of(attempt, personas.speak, a_call(ollama.url))
    assert not failure.non_retryable
    assert "1 of 3 attempts" in failure.message
    assert attempt.beats[-1]["failed"] == {"ModelUnreachable": 6, "AnswerEmpty": 1}


async def test_attempts_end_even_if_the_count_of_failures_is_lost(
    ollama: FakeOllama, personas: Personas
) -> None:
    ollama.fail("empty")
    failure = await failure_of(Attempt(number=MOST_ATTEMPTS), personas.speak, a_call(ollama.url))
    assert failure.non_retryable


# --- heartbeats, cancellation, slots --------------------------------------------------------------


async def test_heartbeats_tell_the_state_while_the_model_is_silent(
    ollama: FakeOllama, personas: Personas
) -> None:
    ollama.answering.clear()
    attempt = Attempt({"ModelUnreachable": 1})
    running = asyncio.ensure_future(attempt.run(personas.speak, a_call(ollama.url)))
    await ollama.until(lambda: attempt.states().count("waiting for the model") >= 2)
    assert attempt.beats[-1]["failed"] == {"ModelUnreachable": 1}
    ollama.answering.set()
    await running


async def test_a_cancelled_call_closes_its_connection(ollama: FakeOllama, personas: Personas) -> None:
    ollama.fail("slow")
    attempt = Attempt()
    running = asyncio.ensure_future(attempt.run(personas.speak, a_call(ollama.url, max_concurrent_calls=1)))
    await ollama.until(lambda: len(ollama.calls) == 1)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await ollama.until(lambda: ollama.calls[0].outcome == "abandoned")
    # Its slot is free again.
    await Attempt().run(personas.speak, a_call(ollama.url, max_concurrent_calls=1))


async def test_no_more_calls_at_once_than_allowed_and_the_rest_wait_their_turn(
    ollama: FakeOllama, personas: Personas, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = asyncio.Semaphore(0)
    monkeypatch.setattr(ollama.answering, "wait", answers.acquire)
    attempts = [Attempt() for _ in range(5)]
    running = []
    for number, attempt in enumerate(attempts):
        call = a_call(ollama.url, fields={"task": f"Task {number}", "thesis": "Tea."})
        running.append(asyncio.ensure_future(attempt.run(personas.speak, call)))
        await ollama.until(lambda attempt=attempt: attempt.beats != [])  # type: ignore[misc]
    await ollama.until(lambda: len(ollama.calls) == 2)
    assert [attempt.states()[-1] for attempt in attempts[2:]] == ["waiting for a free model slot"] * 3
    for count in (3, 4, 5):
        answers.release()
        await ollama.until(lambda count=count: len(ollama.calls) == count)  # type: ignore[misc]
    for _ in range(2):
        answers.release()
    await asyncio.gather(*running)
    assert ollama.most_at_once == 2
    assert [f"Task {number}" in call.user for number, call in enumerate(ollama.calls)] == [True] * 5


async def test_the_number_of_slots_follows_the_latest_call(ollama: FakeOllama, personas: Personas) -> None:
    ollama.answering.clear()
    limits = [1, 1, 3]
    running = [
        asyncio.ensure_future(Attempt().run(personas.speak, a_call(ollama.url, max_concurrent_calls=limit)))
        for limit in limits
    ]
    await ollama.until(lambda: len(ollama.calls) == 3)
    ollama.answering.set()
    await asyncio.gather(*running)


# --- on a real server -----------------------------------------------------------------------------


@workflow.defn
class OneSpeech:
    @workflow.run
    async def run(self, call: PersonaCall) -> Speech:
        return await workflow.execute_activity_method(
            Personas.speak,
            call,
            start_to_close_timeout=timedelta(seconds=60),
            heartbeat_timeout=timedelta(seconds=30),
        )


async def speech(client: Client, personas: Personas, call: PersonaCall) -> Speech:
    queue = str(uuid.uuid4())
    async with Worker(
        client,
        task_queue=queue,
        workflows=[OneSpeech],
        activities=[personas.speak],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        return await client.execute_workflow(OneSpeech.run, call, id=queue, task_queue=queue)


async def test_temporal_keeps_the_count_of_each_failure(
    client: Client, ollama: FakeOllama, personas: Personas
) -> None:
    # Six attempts, none of them the last of its own kind: only the count by type lets the seventh happen.
    ollama.fail("empty", times=2)
    ollama.fail("cut_off")
    ollama.fail("drop", times=1)
    ollama.fail("server_error", times=1)
    answer = await speech(client, personas, a_call(ollama.url))
    assert answer.text.startswith("This is answer")
    assert len(ollama.calls) == 6


async def test_temporal_stops_at_the_last_attempt_of_a_failure(
    client: Client, ollama: FakeOllama, personas: Personas
) -> None:
    ollama.fail("empty", times=10)
    with pytest.raises(WorkflowFailureError) as failed:
        await speech(client, personas, a_call(ollama.url))
    assert isinstance(failed.value.cause, ActivityError)
    failure = failed.value.cause.cause
    assert isinstance(failure, ApplicationError)
    assert failure.type == "AnswerEmpty"
    assert failure.message.endswith("(tried 3 times)")
    assert len(ollama.calls) == 3
