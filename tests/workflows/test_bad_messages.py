"""Whatever a handler is sent, its workflow lives on: updates say what they expect, signals decide nothing."""

import asyncio
import gc
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType, TimeoutType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.exceptions import ApplicationError

from messages.loops import ProposalView
from testbed.processes import TEMPORAL
from testbed.world import World, exists, until
from tests.workflows.garbage import EVERYTHING, GARBAGE, NOTHING, UNREADABLE, WORDS, as_sent
from tests.workflows.refusing import refusal
from tests.workflows.wrong_objects import FIELDS, LOG, QUERIES, WRONG_OBJECTS
from workflows.dialogue import Dialogue
from workflows.living_image import LivingImage

Handle = WorkflowHandle[Any, Any]


# What a workflow task fails of where a busy machine gives it no time; the next attempt does not.
NO_TIME = ("Potential deadlock detected", "A query had come before this workflow task")


async def assert_never_stuck(handle: Handle) -> None:
    """Not one workflow task of this run has failed or timed out, but for want of time."""
    stuck = (EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED, EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)
    events = [event async for event in handle.fetch_history_events() if event.event_type in stuck]
    assert [event for event in events if not was_late(event)] == []


def was_late(event: HistoryEvent) -> bool:
    """Whether no worker took the task in time, or its step got no time."""
    timed_out = event.workflow_task_timed_out_event_attributes
    failure = event.workflow_task_failed_event_attributes.failure
    not_taken = timed_out.timeout_type == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START
    return not_taken or any(reason in failure.message for reason in NO_TIME)


async def assert_lives_on(world: World) -> None:
    """The image answers, its next task works, and no workflow task of it has ever failed."""
    result = await world.ask("Do you live?", task_id=f"alive-{uuid.uuid4().hex[:8]}")
    assert result.synthesis
    await assert_never_stuck(world.image)


# --- updates of the image ---


def test_bad_messages_are_sent_to_every_update_and_query_of_an_image() -> None:
    taken = workflow._Definition.must_from_class(LivingImage)  # no public way to ask
    assert (set(WRONG_OBJECTS), set(QUERIES)) == (set(taken.updates), set(taken.queries))


@pytest.mark.parametrize("update", WRONG_OBJECTS)
async def test_an_update_that_is_not_understood_is_refused_with_what_it_expects(
    world: World, update: str
) -> None:
    before = await world.state()
    wrong_objects = [[message] for message in WRONG_OBJECTS[update]]
    for message in [*WORDS.values(), *GARBAGE.values(), *wrong_objects]:
        reason = await refusal(world.image.execute_update(update, args=message))
        assert reason.type == "BadMessage", (message, reason)
        assert reason.message.startswith(f"expected a JSON object with {FIELDS[update]}")
        assert len(reason.message) < 2_000
    for message in UNREADABLE.values():
        await refusal(world.image.execute_update(update, args=message))
    assert await world.state() == before
    await assert_lives_on(world)


async def test_a_task_without_words_is_refused_with_an_example(world: World) -> None:
    for message in (*NOTHING.values(), [{"task": " \n "}]):
        reason = await refusal(world.image.execute_update("submit_task", args=message))
        assert 'a task needs words: {"task": "your question"}' in reason.message
    await assert_lives_on(world)


async def test_nothing_is_enough_where_no_words_are_needed(world: World) -> None:
    for update in ("reflect", "reload_settings", "pause", "resume"):
        for message in NOTHING.values():
            await world.image.execute_update(update, args=message)
    await assert_lives_on(world)
    await world.image.execute_update("retire", args=NOTHING["nothing"])
    assert (await world.image.result()).phase == "retired"


async def test_an_update_that_nobody_knows_is_refused(world: World) -> None:
    await refusal(world.image.execute_update("explode", {"now": True}))
    await assert_lives_on(world)


async def test_a_settings_file_of_a_thousand_faults_is_refused_in_few_words(world: World) -> None:
    with world.file.open("a") as file:
        file.writelines(f"fault_{number} = {number}\n" for number in range(1_000))
    reason = await refusal(world.image.execute_update("reload_settings"))
    assert reason.type == "InvalidSettings"
    assert len(reason.message) < 2_000
    assert len((await world.status()).settings_problem) < 2_000
    await assert_lives_on(world)


# --- signals to the image ---

CLAIMS: list[Any] = [
    {"task_id": "held"},
    {"task_id": "held", "log": None},
    {"task_id": "held", "log": {**LOG, "task_id": "held", "final_dissonance": 7}},
    {"task_id": "held", "log": LOG},
    {"task_id": "elsewhere", "log": LOG},
    {"task_id": "held", "log": {**LOG, "task_id": "held"}, "model_backend": "x" * 10_000},
    {"loop_id": "loop"},
    {"loop_id": "loop", "state": "approved", "decided_at": "yesterday"},
    {"loop_id": "loop", "state": "perhaps", "decided_at": "2026-01-01T00:00:00Z"},
    {"loop_id": "no/such/loop", "state": "approved", "decided_at": "2026-01-01T00:00:00Z"},
]


@pytest.mark.parametrize("signal", ["task_completed", "loop_concluded", "inquiry_concluded"])
async def test_a_signal_that_is_not_understood_is_set_aside_and_ends_neither_task_nor_loop(
    world: World, signal: str
) -> None:
    waiting = await world.pending_proposal()
    world.ollama.answering.clear()
    receipt = await world.submit("Hold on", task_id="held")
    await world.ollama.until(lambda: len(world.ollama.calls) == 1)
    before = await world.state()
    for message in [*EVERYTHING.values(), *([claim] for claim in CLAIMS)]:
        await world.image.signal(signal, args=message)
    after = await world.state()
    assert after.model_copy(update={"set_aside": [], "keeping": before.keeping}) == before
    assert 0 < len(after.set_aside) <= 10
    assert {aside.what for aside in after.set_aside} == {signal}
    assert all(aside.reason and aside.excerpt for aside in after.set_aside)
    world.ollama.answering.set()
    assert (await world.result(receipt)).task_id == "held"
    assert (await world.proposal(waiting.loop_id)).state == "pending"
    await assert_lives_on(world)


# --- a proposal that waits ---

WRONG_DECISIONS: list[Any] = [
    {"verdict": "perhaps", "approver": "Ada"},
    {"verdict": ["approve"], "approver": "Ada"},
    {"verdict": "approve", "approver": 7},
    {"verdict": "approve", "approver": "x" * 81},
    {"verdict": "approve", "approver": "Ada", "comment": "x" * 401},
    {"verdict": "approve", "approver": "Ada", "proposal_digest": 7},
    {"verdict": "approve", "approver": "Ada", "changes": ["autopoiesis.max_turns"]},
    {"verdict": "approve", "approver": "Ada", "changes": {"autopoiesis.max_turns": None}},
    {"verdict": "approve", "approver": "Ada", "changes": {"autopoiesis.max_turns": [3]}},
    {"verdict": "approve", "approver": "Ada", "sudo": True},
]
REFUSED_DECISIONS: list[Any] = [
    {"verdict": "approve"},
    {"approver": "Ada"},
    {"verdict": "approve", "approver": "  "},
    {"verdict": "approve", "approver": "Ada", "changes": {"autopoiesis.max_turns": True}},
    {"verdict": "approve", "approver": "Ada", "changes": {"autopoiesis.max_turns": "3"}},
    {"verdict": "approve", "approver": "Ada", "changes": {"autopoiesis.max_turns": 10**30}},
    {"verdict": "approve", "approver": "Ada", "changes": {"governance.approval_timeout": "1ms"}},
]


async def decide(world: World, waiting: ProposalView) -> None:
    """The proposal still waits, and a person may still decide it."""
    assert await world.proposal(waiting.loop_id) == waiting
    concluded = await world.decide(waiting.loop_id, "reject")
    assert (concluded.state, concluded.decided_by) == ("rejected", "Ada")
    await assert_never_stuck(world.loop(waiting.loop_id))
    await assert_lives_on(world)


async def test_a_decision_that_is_not_understood_is_refused_and_the_proposal_waits_on(world: World) -> None:
    waiting = await world.pending_proposal()
    loop = world.loop(waiting.loop_id)
    for message in [*WORDS.values(), *GARBAGE.values(), *([wrong] for wrong in WRONG_DECISIONS)]:
        reason = await refusal(loop.execute_update("decide", args=message))
        assert reason.message.startswith("expected a JSON object with verdict, approver, comment"), message
    for message in [
        *NOTHING.values(),
        *UNREADABLE.values(),
        *([refused] for refused in REFUSED_DECISIONS),
        [as_sent(b'{"verdict": "approve", "approver": "Ada", "changes": {"autopoiesis.max_turns": 1e999}}')],
    ]:
        await refusal(loop.execute_update("decide", args=message))
    await decide(world, waiting)


async def test_a_signal_to_a_loop_that_is_not_understood_decides_nothing(world: World) -> None:
    waiting = await world.pending_proposal()
    loop = world.loop(waiting.loop_id)
    wrong = [{"approver": 7}, {"approver": "x" * 81}, {"comment": None}, {"approver": "Ada", "sudo": True}]
    unreadable = {what: sent for what, sent in UNREADABLE.items() if what != "two arguments"}
    for signal in ("approve", "reject"):
        for message in [*GARBAGE.values(), *unreadable.values(), *([each] for each in wrong)]:
            await loop.signal(signal, args=message)
    await decide(world, waiting)


async def test_an_argument_too_many_does_not_stop_a_loop(world: World) -> None:
    waiting = await world.pending_proposal()
    loop = world.loop(waiting.loop_id)
    await loop.signal("reject", args=["Ada", "and Grace"])
    concluded = await loop.result()
    assert (concluded.state, concluded.decided_by) == ("rejected", "Ada")
    await assert_never_stuck(loop)


# --- queries ---


async def assert_queries_do_no_harm(handle: Handle, queries: list[str]) -> None:
    """Whatever a query is sent, it answers or says that it cannot."""
    for query in queries:
        for message in EVERYTHING.values():
            try:
                await handle.query(query, args=message)
            except WorkflowQueryFailedError as error:
                assert str(error)
    with pytest.raises(WorkflowQueryFailedError, match="explode"):
        await handle.query("explode")
    await assert_never_stuck(handle)


async def test_queries_to_an_image_do_no_harm(world: World) -> None:
    await assert_queries_do_no_harm(world.image, QUERIES)
    await assert_lives_on(world)


async def test_queries_to_a_loop_do_no_harm(world: World) -> None:
    waiting = await world.pending_proposal()
    await assert_queries_do_no_harm(world.loop(waiting.loop_id), ["proposal"])
    await decide(world, waiting)


async def test_a_dialogue_argues_on_whatever_it_is_sent(world: World) -> None:
    world.ollama.answering.clear()
    receipt = await world.submit("Hold on")
    dialogue = world.client.get_workflow_handle_for(Dialogue.run, receipt.workflow_id)
    await until(lambda: exists(dialogue))
    await assert_queries_do_no_harm(dialogue, ["transcript"])
    for message in EVERYTHING.values():
        await dialogue.signal("approve", args=message)
        await refusal(dialogue.execute_update("decide", args=message))
    world.ollama.answering.set()
    assert (await world.result(receipt)).synthesis
    await assert_never_stuck(dialogue)
    await assert_lives_on(world)


# --- starts ---


@pytest.fixture
def quietly() -> Iterator[None]:
    """The SDK makes the coroutine of `run` before a failing `__init__` and drops it: collect it here."""
    yield
    gc.collect()


# Told as a warning, or where the sandbox has taken away the means to warn, as an exception of that.
DROPPED = (
    "ignore:coroutine '.*run_workflow' was never awaited:RuntimeWarning",
    "ignore:.*coroutine object .*_initialize_workflow:pytest.PytestUnraisableExceptionWarning",
)


@pytest.mark.filterwarnings(*DROPPED)
@pytest.mark.usefixtures("quietly")
@pytest.mark.parametrize("name", ["LivingImage", "Dialogue", "PhilosophicalLoop", "Inquiry"])
async def test_a_workflow_started_with_garbage_fails_at_once_and_says_what_it_expects(
    world: World, name: str
) -> None:
    started = [
        await world.client.start_workflow(
            name, args=message, id=f"{world.name}/bad/{number}", task_queue=world.name
        )
        for number, message in enumerate([*NOTHING.values(), *WORDS.values(), *GARBAGE.values()])
    ]
    for handle in started:
        with pytest.raises(WorkflowFailureError) as error:
            await asyncio.wait_for(handle.result(), 60)
        assert isinstance(error.value.cause, ApplicationError)
        assert error.value.cause.message.startswith("expected a JSON object with ")
        await assert_never_stuck(handle)


# --- by the `temporal` binary ---

BY_HAND: list[list[str]] = [
    [],
    ["--input", "null"],
    ["--input", '"words"'],
    ["--input", "7"],
    ["--input", "[1, 2]"],
    ["--input", '{"nonsense": 1}'],
]


async def temporal(world: World, *words: str) -> tuple[int, str]:
    """The exit code of the `temporal` binary, and all it said."""
    process = await asyncio.create_subprocess_exec(
        TEMPORAL, *words, "--address", world.address, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_bad_messages_by_the_temporal_binary_do_no_harm_either(world: World) -> None:
    waiting = await world.pending_proposal()
    for message in BY_HAND:
        await temporal(world, "workflow", "signal", "-w", world.name, "--name", "task_completed", *message)
        code, said = await temporal(
            world, "workflow", "update", "execute", "-w", world.name, "--name", "submit_task", *message
        )
        assert code != 0
        assert "expected a JSON object with task" in said or "a task needs words" in said
    for message in BY_HAND[3:]:
        code, said = await temporal(
            world, "workflow", "signal", "-w", waiting.loop_id, "--name", "approve", *message
        )
        assert code == 0, said
    two = ["--input", "1", "--input", "2"]
    await temporal(world, "workflow", "signal", "-w", world.name, "--name", "loop_concluded", *two)
    assert len((await world.status()).set_aside) == len(BY_HAND) + 1
    await decide(world, waiting)


@pytest.mark.filterwarnings(*DROPPED)
@pytest.mark.usefixtures("quietly")
async def test_an_image_started_by_the_temporal_binary_without_settings_fails_clearly(world: World) -> None:
    name = f"{world.name}-by-hand"
    for message in BY_HAND:
        code, said = await temporal(
            world, "workflow", "execute", "--type", "LivingImage", "-w", name, "-t", world.name, *message
        )
        assert code != 0
        assert "expected a JSON object with settings" in said
