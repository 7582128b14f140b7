"""Dialogues that remember: what BABS is handed, what the result says, and what a broken memory changes."""

import shutil
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from activities.memory.histories import OVERLAP, Heard, Histories
from activities.memory.store import MemoryStore
from connection.places import memory_file
from messages.tasks import DialogueResult
from testbed.fake_ollama import FakeOllama
from testbed.world import Image, World, exists, until
from workflows.dialogue import Dialogue

FIRST, SECOND = "Should a town plant trees or build shade roofs?", "Should the town plant more trees?"


@pytest.fixture(autouse=True)
def research(ollama: FakeOllama) -> None:
    ollama.script.needs_research = True


async def listed(world: Image, count: int) -> None:
    """Wait until the server's list, which lags behind, holds so many finished tasks."""
    query = (
        f"WorkflowId STARTS_WITH '{world.name}/task/' AND WorkflowType = 'Dialogue' "
        "AND ExecutionStatus = 'Completed'"
    )

    async def all_there() -> bool:
        return (await world.client.count_workflows(query)).count == count

    await until(all_there)


def research_call(world: World, task: str) -> str:
    (call,) = [call for call in world.ollama.calls if "You are BABS" in call.user and task in call.user]
    return call.user


async def second_of_two(world: World) -> DialogueResult:
    await world.ask(FIRST, task_id="first")
    await listed(world, 1)
    return await world.ask(SECOND, task_id="second")


async def test_the_synthesis_of_an_earlier_task_is_handed_to_babs_and_the_result_says_so(
    world: World,
) -> None:
    first = await world.ask(FIRST, task_id="first")
    await listed(world, 1)
    second = await world.ask(SECOND, task_id="second")
    assert (first.recalled, first.recalled_by) == ([], "embeddings nomic-embed-text")
    (item,) = second.recalled
    assert (item.task_id, item.task, item.synthesis) == ("first", FIRST, first.synthesis)
    told = research_call(world, f"The task:\n{SECOND}")
    assert f"Task: {FIRST}\nConclusion: {first.synthesis}" in told
    dialogue = world.client.get_workflow_handle_for(Dialogue.run, f"{world.name}/task/second")
    transcript = await dialogue.query(Dialogue.transcript)
    assert (transcript.recalled, transcript.recalled_by) == (second.recalled, second.recalled_by)


async def test_without_an_embedding_model_shared_words_recall_and_the_result_says_so(world: World) -> None:
    world.ollama.script.models = ["qwen2.5:7b", "llama3.1:8b"]
    second = await second_of_two(world)
    assert [item.task_id for item in second.recalled] == ["first"]
    assert second.recalled_by == "shared words (no embedding model nomic-embed-text)"


async def test_with_recall_0_or_without_research_nothing_is_asked_of_the_memory(world: World) -> None:
    world.ollama.script.needs_research = False
    assert (await world.ask("No research?")).recalled_by == ""
    world.ollama.script.needs_research = True
    world.edit({"memory.recall": 0})
    await world.update("reload_settings", None, dict)
    result = await world.ask("No memory?")
    assert (result.recalled, result.recalled_by, world.ollama.embeddings) == ([], "", [])
    assert not world.state_dir.exists()


async def test_a_memory_that_cannot_be_kept_fails_no_task(world: World) -> None:
    world.state_dir.write_text("a file where the folder should be")
    result = await world.ask(FIRST)
    assert result.synthesis
    assert result.recalled_by.startswith("nothing: the memory of this machine cannot be used (")


@pytest.mark.parametrize("harm", ["delete", "break"])
async def test_a_store_that_was_deleted_or_broken_comes_back_by_itself(world: World, harm: str) -> None:
    await world.ask(FIRST, task_id="first")
    await listed(world, 1)
    await world.ask("Something else entirely?", task_id="between")
    if harm == "delete":
        while world.state_dir.exists():  # the store may be at work in it
            shutil.rmtree(world.state_dir, ignore_errors=True)
    else:
        memory_file(world.state_dir).write_bytes(b"no database" * 1000)
    result = await world.ask(SECOND)
    assert [item.task_id for item in result.recalled] == ["first"]


# --- the histories a store is filled from ---


@pytest.fixture
async def argued(world: World) -> AsyncIterator[World]:
    for number in range(3):
        await world.ask(f"{FIRST} {number}", task_id=f"task-{number}")
    world.ollama.fail("not_pulled", asks="text")
    receipt = await world.submit("Does this fail?", task_id="failing")
    failing = world.client.get_workflow_handle(receipt.workflow_id)
    await until(lambda: exists(failing))
    await until(lambda: _ended(failing))
    await listed(world, 3)
    yield world


async def _ended(handle: WorkflowHandle[Any, Any]) -> bool:
    return (await handle.describe()).close_time is not None


async def test_two_stores_that_are_filled_apart_agree(argued: World, tmp_path: Path) -> None:
    one, other = MemoryStore(tmp_path / "one.db"), MemoryStore(tmp_path / "other.db")
    histories = Histories(argued.client)
    assert await histories.catch_up(one, argued.name) == 3
    assert await histories.catch_up(one, argued.name) == 0
    assert await histories.catch_up(other, argued.name) == 3
    assert await histories.catch_up(other, argued.name) == 0

    def sorted_entries(store: MemoryStore) -> list[dict[str, str]]:
        return sorted(store.entries(argued.name), key=lambda entry: entry["task_id"])

    assert sorted_entries(one) == sorted_entries(other)
    assert [entry["task_id"] for entry in sorted_entries(one)] == ["task-0", "task-1", "task-2"]
    assert sorted_entries(one)[0]["task"] == f"{FIRST} 0"


async def test_a_look_begins_where_the_last_one_ended_and_overlaps_it(argued: World, tmp_path: Path) -> None:
    store = MemoryStore(tmp_path / "one.db")
    histories = Histories(argued.client)
    await histories.catch_up(store, argued.name)
    source = f"{argued.client.service_client.config.target_host} {argued.client.namespace}"
    until = store.looked_until(source, argued.name)
    latest = max(entry["finished_at"] for entry in store.entries(argued.name))
    assert datetime.fromisoformat(until) + OVERLAP == datetime.fromisoformat(latest)
    store.forget(argued.name)
    store.set_looked_until(source, argued.name, until)
    assert await Histories(argued.client).catch_up(store, argued.name) == 3
    store.forget(argued.name)
    store.set_looked_until(source, argued.name, "2100-01-01T00:00:00+00:00")
    assert await Histories(argued.client).catch_up(store, argued.name) == 0


@pytest.mark.parametrize(
    ("same_run", "seconds_before_its_end", "believed"),
    [(True, 0.1, True), (True, 5.0, False), (True, -5.0, False), (False, 0.1, False)],
)
async def test_what_a_worker_heard_is_believed_only_of_the_run_that_ended_with_it(
    world: World, tmp_path: Path, same_run: bool, seconds_before_its_end: float, believed: bool
) -> None:
    result = await world.ask(FIRST, task_id="first")
    await listed(world, 1)
    dialogue = world.client.get_workflow_handle_for(Dialogue.run, f"{world.name}/task/first")
    ended = await dialogue.describe()
    assert ended.close_time
    at = ended.close_time - timedelta(seconds=seconds_before_its_end)
    run_id = str(ended.run_id) if same_run else "an earlier run"
    histories = Histories(world.client)
    histories.hear(dialogue.id, Heard(run_id, "What was heard?", "This was heard.", at))
    store = MemoryStore(tmp_path / "one.db")
    await histories.catch_up(store, world.name)
    (entry,) = store.entries(world.name)
    heard, read = ("What was heard?", "This was heard."), (FIRST, result.synthesis)
    assert (entry["task"], entry["synthesis"]) == (heard if believed else read)
