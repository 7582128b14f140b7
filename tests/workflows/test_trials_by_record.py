"""The present arm of a trial is what a task came to when a person asked it, wherever that is comparable."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities import recorded
from activities.prompts import PROMPTS
from activities.recorded import Recorded, read_start
from messages.loops import ProposalView
from messages.memory import Recalled
from messages.names import trial_workflow_id
from messages.tasks import DialogueStart, RecordedTask
from messages.trials import RecordedTasks, Replay
from testbed.fake_ollama import FakeOllama
from testbed.world import World, exists, until
from tests.workflows.tried import argued, replays, thought
from workflows.dialogue import Dialogue

QUESTIONS = [f"q{number}" for number in range(8)]


@pytest.fixture
async def trying(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[World]:
    async with argued(client, ollama, tmp_path) as world:
        yield world


def of_present(view: ProposalView) -> list[Replay]:
    return [one for tried in view.rounds for one in tried.replays if one.arm == 0]


async def found(world: World, *task_ids: str) -> list[RecordedTask]:
    wanted = RecordedTasks(image_id=world.name, task_ids=[*task_ids])
    return await ActivityEnvironment().run(Recorded(world.client).find_recorded, wanted)


async def test_what_a_person_was_answered_stands_for_the_present_settings(trying: World) -> None:
    view = await thought(trying, await trying.reflect())
    logs = {log.task_id: log for log in (await trying.state()).window}
    present = of_present(view)
    assert len(present) >= 2
    for one in present:
        log = logs[one.task_id]
        assert (one.recorded, one.dissonance) == (True, log.final_dissonance)
        assert one.tokens == log.tokens_in + log.tokens_out
    arms = sum(len(tried.replays) for tried in view.rounds)
    assert len(await replays(trying, view.loop_id)) == arms - len(present)


@pytest.mark.parametrize("arm", [1, 5], ids=["a mixture", "the model's candidate"])
async def test_where_a_candidate_fails_that_may_be_asked_for_the_present_settings_are_tried_as_well(
    trying: World, arm: int
) -> None:
    trying.ollama.script.delay_seconds = 0.2  # long enough to be ended amid it
    loop_id = await trying.reflect()
    replay = trying.client.get_workflow_handle(trial_workflow_id(loop_id, 1, arm, 1))
    await until(lambda: exists(replay), 60)
    await replay.terminate("not this one")
    trying.ollama.script.delay_seconds = 0.0
    view = await thought(trying, loop_id)
    (broken,) = [one for one in view.rounds[0].replays if one.outcome == "failed"]
    assert broken.arm == arm
    asked_for = view.rounds[0].candidates[arm - 1].source != "screening"
    assert asked_for == (arm == 5)
    again = {one.task_id for one in of_present(view) if not one.recorded}
    assert again == ({broken.task_id} if asked_for else set())
    assert len([one for one in of_present(view) if one.task_id == broken.task_id]) == 1


async def test_what_was_argued_with_other_prompts_is_argued_again(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    prompts = tmp_path / "words.toml"
    prompts.write_text(PROMPTS.read_text())
    async with argued(client, ollama, tmp_path, prompts=prompts) as world:
        told = prompts.read_text().replace("[antithesis]", '[antithesis]\nsystem = "Contradict."', 1)
        prompts.write_text(told)
        # Nobody has argued with the new words yet, so the image cannot know of them.
        view = await thought(world, await world.reflect())
        assert of_present(view)
        assert not any(one.recorded for one in of_present(view))


async def test_all_arms_are_handed_what_the_task_was_handed(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with argued(client, ollama, tmp_path, needs_research=True) as world:
        # Much has happened since the first of them, and none of it may be told now.
        view = await thought(world, await world.reflect())
        results = {one.task_id: one.result for one in await found(world, *QUESTIONS)}
        tried = await replays(world, view.loop_id)
        assert tried
        for workflow_id in tried:
            start = await read_start(client, client.get_workflow_handle(workflow_id), DialogueStart)
            result = results[start.task_id]
            assert start.recalled is not None
            assert result is not None
            if start.settings.memory.recall <= world.on_file().memory.recall:
                assert (start.recalled.items, start.recalled.means) == (result.recalled, result.recalled_by)


async def test_where_a_candidate_is_handed_more_the_present_settings_are_tried_with_what_it_gets(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with argued(client, ollama, tmp_path, needs_research=True) as world:
        present = world.on_file().memory.recall
        more = {"changes": [{"key": "memory.recall", "value": present + 1}], "reason": "It may know more."}
        ollama.script.candidates = [more]
        view = await thought(world, await world.reflect())
        assert {"memory.recall": present + 1} in [one.values for one in view.rounds[0].candidates]
        results = {one.task_id: one.result for one in await found(world, *QUESTIONS)}
        handed: dict[str, list[Recalled]] = {}
        for workflow_id in await replays(world, view.loop_id):
            start = await read_start(client, client.get_workflow_handle(workflow_id), DialogueStart)
            assert start.recalled is not None
            handed.setdefault(start.task_id, []).append(start.recalled)
        again = [one.task_id for one in view.rounds[0].replays if one.arm == 0 and not one.recorded]
        # The first questions had nothing to recall when they were asked.
        assert again
        for task_id in again:
            result = results[task_id]
            assert result is not None
            assert all(one == handed[task_id][0] for one in handed[task_id])
            assert result.recalled != handed[task_id][0].items[:present]


async def test_a_record_says_what_its_task_came_to_where_that_can_be_read(
    trying: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    trying.ollama.script.delay_seconds = 60.0
    under_way, ended = [
        trying.client.get_workflow_handle((await trying.submit("Under way?", task_id=task_id)).workflow_id)
        for task_id in ("under-way", "ended")
    ]
    await until(lambda: exists(under_way))
    await until(lambda: exists(ended))
    await ended.terminate("by somebody")
    tasks = await found(trying, "q1", "no-such-task", "under-way", "ended", "q2")
    assert [task.task_id for task in tasks] == ["q1", "under-way", "ended", "q2"]
    assert [task.result is not None for task in tasks] == [True, False, False, True]
    first = tasks[0].result
    assert first is not None
    asked = trying.client.get_workflow_handle_for(Dialogue.run, f"{trying.name}/task/q1")
    assert first == await asked.result()
    # All of it has to fit into one answer of the activity.
    monkeypatch.setattr(recorded, "MOST_BYTES", len(first.model_dump_json()) + 10)
    assert [task.result is not None for task in await found(trying, "q1", "q2", "q1")] == [True, False, False]
