"""How one task is argued out, by real model calls over HTTP to a scripted server."""

from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError

from messages.tasks import DialogueResult, Transcript
from testbed.world import World, exists, until
from workflows.dialogue import Dialogue


async def begin(world: World, task: str) -> WorkflowHandle[Dialogue, DialogueResult]:
    receipt = await world.submit(task)
    dialogue = world.client.get_workflow_handle_for(Dialogue.run, receipt.workflow_id)
    await until(lambda: exists(dialogue))
    return dialogue


async def failure(dialogue: WorkflowHandle[Any, Any]) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as error:
        await dialogue.result()
    assert isinstance(error.value.cause, ApplicationError)
    return error.value.cause


async def recorded(world: World, task_id: str) -> Any:
    async def view() -> Any:
        return next((task for task in (await world.state()).finished if task.task_id == task_id), None)

    return await until(view)


def asked(world: World) -> list[str]:
    """What the model was asked for, in order."""
    return [call.asks for call in world.ollama.calls]


async def test_the_known_case_converges_after_two_turns(world: World) -> None:
    world.ollama.script.labels = ["unrelated", "partly_different"]  # 0.7, then 0.3 against a threshold of 0.4
    result = await world.ask("Should the bridge be built?")
    assert [dissonance.value for dissonance in result.dissonance] == [0.7, 0.3]
    assert [dissonance.label for dissonance in result.dissonance] == ["unrelated", "partly_different"]
    assert (result.outcome, result.log.turn_count, result.log.final_dissonance) == ("converged", 2, 0.3)
    assert asked(world) == ["plan", *["text", "text", "dissonance"] * 2, "text"]
    assert result.model_backend == "ollama qwen2.5:7b"
    assert result.log.tokens_out > 0


async def test_an_argument_without_agreement_ends_at_max_turns_with_a_synthesis(world: World) -> None:
    world.ollama.script.labels = ["opposite"]
    result = await world.ask("Is there free will?")
    assert (result.outcome, result.log.turn_count, result.log.final_dissonance) == ("max_turns", 2, 1.0)
    assert result.synthesis


async def test_babs_is_asked_only_when_the_plan_wants_research(world: World) -> None:
    await world.ask("Without research?")
    without = len(world.ollama.calls)
    world.ollama.script.needs_research = True
    dialogue = await begin(world, "With research?")
    await dialogue.result()
    assert len(world.ollama.calls) == 2 * without + 1
    transcript = await dialogue.query(Dialogue.transcript)
    assert transcript.research
    assert any(transcript.research in call.user for call in world.ollama.calls[without + 2 :])


async def test_every_persona_speaks_with_its_own_model(world: World) -> None:
    world.ollama.script.needs_research = True
    world.edit({"models.alfred": "a", "models.babs": "b", "models.brick": "c", "models.robin": "d"})
    await world.update("reload_settings", None, dict)
    await world.ask("Who speaks?")
    assert [call.model for call in world.ollama.calls] == ["a", "b", "c", "d", "d", "a"]


async def test_the_transcript_can_be_read_while_they_speak(world: World) -> None:
    world.ollama.answering.clear()
    dialogue = await begin(world, "Are you there?")
    await world.ollama.until(lambda: len(world.ollama.calls) == 1)
    transcript = await dialogue.query(Dialogue.transcript)
    assert (transcript.speaking, transcript.turns) == ("ALFRED plans", [])
    world.ollama.answering.set()
    result = await dialogue.result()
    transcript = await dialogue.query(Dialogue.transcript)
    assert (transcript.speaking, transcript.synthesis) == ("", result.synthesis)


@pytest.mark.parametrize("fault", ["not_json", "unknown_label", "empty"])
async def test_no_dissonance_is_a_state_of_its_own_and_never_a_number(world: World, fault: Any) -> None:
    world.edit({"autopoiesis.max_turns": 1})
    await world.update("reload_settings", None, dict)
    world.ollama.fail(fault, times=100, asks="dissonance")
    result = await world.ask("How far apart?")
    (dissonance,) = result.dissonance
    assert (dissonance.value, dissonance.label) == (None, None)
    assert dissonance.missing.startswith("Answer")
    assert (result.outcome, result.log.final_dissonance) == ("max_turns", None)
    assert result.synthesis


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("not_pulled", "ModelNotPulled"), ("refused", "ModelRefused"), ("server_error", "ModelServerError")],
)
async def test_a_model_failure_fails_the_task_by_name_and_the_image_lives_on(
    world: World, fault: Any, kind: str
) -> None:
    world.ollama.fail(fault, times=3, containing="Will this fail?")
    dialogue = await begin(world, "Will this fail?")
    error = await failure(dialogue)
    assert error.type == kind
    transcript = await dialogue.query(Dialogue.transcript)
    assert transcript.failure.startswith(f"{kind}: ")
    assert transcript == Transcript(
        task_id=transcript.task_id, task="Will this fail?", failure=transcript.failure
    ), "no error is ever said"
    view = await recorded(world, transcript.task_id)
    assert (view.outcome, view.failure.split(":")[0]) == ("failed", kind)
    (log,) = (await world.state()).window
    assert (log.outcome, log.final_dissonance, log.turn_count) == ("failed", None, 0)
    assert (await world.ask("And will this work?")).synthesis


async def test_a_cancelled_task_is_recorded_as_failed_and_the_image_lives_on(world: World) -> None:
    world.ollama.answering.clear()
    dialogue = await begin(world, "Too long?")
    await world.ollama.until(lambda: len(world.ollama.calls) == 1)
    await dialogue.cancel()
    with pytest.raises(WorkflowFailureError) as error:
        await dialogue.result()
    assert isinstance(error.value.cause, CancelledError)
    view = await recorded(world, dialogue.id.rpartition("/")[2])
    assert (view.outcome, view.failure) == ("failed", "Cancelled: somebody cancelled this task")
    world.ollama.answering.set()
    assert (await world.ask("Better?")).synthesis


async def test_bytes_of_history_grow_linearly_with_the_turns(world: World) -> None:
    world.ollama.script.labels = ["opposite"]
    sizes = {}
    for turns in (2, 6, 10):
        world.edit({"autopoiesis.max_turns": turns})
        await world.update("reload_settings", None, dict)
        dialogue = await begin(world, f"How long are {turns} turns?")
        await dialogue.result()
        sizes[turns] = (await dialogue.describe()).raw_description.workflow_execution_info.history_size_bytes
    first, second = sizes[6] - sizes[2], sizes[10] - sizes[6]
    assert second <= 1.1 * first, f"four more turns took {first}, then {second} bytes"


async def test_settings_are_pinned_when_the_task_starts(world: World) -> None:
    world.ollama.answering.clear()
    dialogue = await begin(world, "Which settings are mine?")
    await world.ollama.until(lambda: len(world.ollama.calls) == 1)
    world.edit({"autopoiesis.max_turns": 1})
    await world.update("reload_settings", None, dict)
    world.ollama.script.labels = ["opposite"]
    world.ollama.answering.set()
    result = await dialogue.result()
    assert (result.revision, result.log.turn_count) == (1, 2)
