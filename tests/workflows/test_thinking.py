"""A whole image whose model thinks aloud: every dissonance measured, no thinking kept, no false proposal."""

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowFailureError

from testbed.fake_ollama import FakeOllama
from testbed.model_habits import Habits
from testbed.world import World
from workflows.dialogue import Dialogue

SIX = {"system.max_concurrent_tasks": 6, "models.max_concurrent_calls": 6, "autopoiesis.max_turns": 2}


@pytest.mark.parametrize("thinks", ["field", "tags", "no_opening_tag"])
async def test_six_tasks_at_once_are_measured_and_hold_no_thinking(
    client: Client, ollama: FakeOllama, tmp_path: Path, thinks: str
) -> None:
    ollama.script.habits = Habits.model_validate({"thinks": thinks, "thinking_tokens": 300})
    ollama.script.labels = ["opposite", "partly_different"]
    ollama.script.needs_research = True
    async with World(client, ollama, tmp_path, SIX) as world:
        results = await asyncio.gather(*(world.ask(f"Question {number}?") for number in range(6)))
        handles = [client.get_workflow_handle(f"{world.name}/task/{result.task_id}") for result in results]
        transcripts = [await handle.query(Dialogue.transcript) for handle in handles]
    assert [
        dissonance.missing for result in results for dissonance in result.dissonance if dissonance.missing
    ] == []
    told = [transcript.model_dump_json() for transcript in transcripts]
    told += [result.model_dump_json() for result in results]
    told += [call.system + call.user for call in ollama.calls]
    assert not [text for text in told if "SECRET" in text]
    assert all(result.log.tokens_out > 300 * 6 for result in results)


async def test_arguments_that_were_not_measured_make_no_proposal(world: World) -> None:
    world.edit({"autopoiesis.max_turns": 1})
    await world.update("reload_settings", None, dict)
    world.ollama.fail("cut_off", times=100, asks="dissonance")
    for result in await asyncio.gather(*(world.ask(f"Question {number}?") for number in range(6))):
        assert result.log.final_dissonance is None
        assert result.dissonance[0].missing.startswith("AnswerCutOff")
    loop_id = await world.reflect()
    await world.proposal(loop_id, "no_proposal")
    concluded = await world.loop(loop_id).result()
    assert "6 finished arguments" in concluded.reason
    assert "6 of them without a dissonance" in concluded.reason


async def test_a_task_whose_prompt_is_too_long_fails_by_name(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with World(client, ollama, tmp_path, {"models.context_tokens": 4096}) as world:
        task = "Why? " * 1_600
        ollama.script.habits = Habits(bytes_per_token=1)
        receipt = await world.submit(task)
        dialogue = client.get_workflow_handle_for(Dialogue.run, receipt.workflow_id)
        with pytest.raises(WorkflowFailureError):
            await world.result(receipt)
        transcript = await dialogue.query(Dialogue.transcript)
    assert transcript.failure.startswith("PromptTooLong: ")
    assert "raise [models] context_tokens" in transcript.failure
