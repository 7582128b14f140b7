"""The image as people and programs use it: tasks, logs, phases, settings."""

import asyncio
from typing import Any

import pytest
from temporalio.client import Client, WorkflowUpdateFailedError

from connection.image import start_image
from messages.image import ImageStatus, ReloadReceipt
from messages.tasks import LogReceipt
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.workflows.refusing import refusal
from workflows.dialogue import Dialogue
from workflows.living_image import LivingImage


def log(task_id: str, **more: Any) -> dict[str, Any]:
    good = {"task_id": task_id, "outcome": "converged", "turn_count": 1, "final_dissonance": 0.3}
    return {**good, **more}


# --- tasks ---


async def test_the_same_task_id_twice_is_one_task(world: World) -> None:
    first, second = await asyncio.gather(*(world.submit("Once?", task_id="once") for _ in range(2)))
    assert first.workflow_id == second.workflow_id == f"{world.name}/task/once"
    await world.result(first)
    await world.tasks_finished()
    again = await world.submit("Once?", task_id="once")
    assert again.position == 0
    state = await world.state()
    assert (state.finished_count, len(state.window)) == (1, 1)


async def test_the_same_update_sent_twice_is_one_task(world: World) -> None:
    receipts = [
        await world.image.execute_update("submit_task", {"task": "Once?"}, id="one click") for _ in range(2)
    ]
    assert receipts[0]["task_id"] == receipts[1]["task_id"]
    await world.tasks_finished()
    assert (await world.state()).finished_count == 1


async def test_a_task_that_only_the_server_remembers_is_not_argued_out_again(world: World) -> None:
    await world.ask("Once?", task_id="old")
    await world.tasks_finished()
    await world.image.terminate()
    await start_image(world.client, world.on_file())
    calls = len(world.ollama.calls)
    await world.submit("Once?", task_id="old")

    async def filed() -> Any:
        return (await world.state()).finished

    (view,) = await until(filed)
    assert view.failure.startswith("Duplicate: argued out before")
    assert len(world.ollama.calls) == calls
    assert (await world.state()).window == []


async def test_a_full_queue_refuses_with_the_reason_and_loses_nothing(
    client: Client, ollama: FakeOllama, tmp_path: Any
) -> None:
    limits = {"system.max_concurrent_tasks": 1, "system.max_queued_tasks": 2}
    ollama.answering.clear()
    async with World(client, ollama, tmp_path, limits) as world:
        await world.submit("The one that runs?")
        await ollama.until(lambda: len(ollama.calls) == 1)
        positions = [(await world.submit(f"Waiting {n}?")).position for n in range(2)]
        assert positions == [1, 2]
        error = await refusal(world.submit("One too many?"))
        assert (error.type, "2 tasks wait" in error.message) == ("QueueFull", True)
        ollama.answering.set()
        await world.tasks_finished()
        views = await world.image.query(LivingImage.tasks)
        assert [view.task for view in views] == ["The one that runs?", "Waiting 0?", "Waiting 1?"]
        assert ollama.most_at_once == 1


async def test_task_text_that_waits_is_bounded_in_bytes(
    client: Client, ollama: FakeOllama, tmp_path: Any
) -> None:
    ollama.answering.clear()
    async with World(client, ollama, tmp_path) as world:
        long = "ö" * 4_000
        with pytest.raises(WorkflowUpdateFailedError) as error:
            for _ in range(100):
                await world.submit(long)
        assert "36 KiB of task text" in str(error.value.cause)
        assert len((await world.state()).model_dump_json().encode()) < 256 * 1024
        too_long = await refusal(world.submit("x" * 8_193))
        assert "longer than 8192 bytes" in too_long.message
        ollama.answering.set()


@pytest.mark.parametrize("task", ["", "  \n "])
async def test_a_task_needs_words(world: World, task: str) -> None:
    assert "a task needs words" in (await refusal(world.submit(task))).message


async def test_a_terminated_dialogue_is_noticed_and_its_task_recorded_as_failed(world: World) -> None:
    world.ollama.answering.clear()
    receipt = await world.submit("Will I live?")
    await world.ollama.until(lambda: len(world.ollama.calls) == 1)
    await world.client.get_workflow_handle_for(Dialogue.run, receipt.workflow_id).terminate()
    await world.tasks_finished()
    (view,) = (await world.state()).finished
    assert (view.outcome, view.failure) == ("failed", "Lost: the workflow of this task ended: terminated")
    world.ollama.answering.set()
    assert (await world.ask("And I?")).synthesis


# --- logs ---


async def test_the_same_log_twice_is_one_log(world: World) -> None:
    receipts = [await world.update("record_performance", log("once"), LogReceipt) for _ in range(2)]
    assert [(receipt.accepted, receipt.window) for receipt in receipts] == [(True, 1), (True, 1)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"final_dissonance": None}, "a converged log needs its final_dissonance"),
        ({"final_dissonance": 7}, "less than or equal to 1"),
        ({"outcome": "Success"}, "outcome: Input should be"),
        ({"turn_count": -1}, "greater than or equal to 0"),
        ({"task_id": "a/b"}, "task_id: String should match"),
        ({"active_heuristics": {str(n): "x" * 20 for n in range(50)}}, "at most 720 bytes"),
        ({"finished_at": "yesterday"}, "finished_at: Input should be a valid datetime"),
    ],
)
async def test_a_log_that_does_not_validate_is_refused_and_never_poisons_the_window(
    world: World, bad: dict[str, Any], reason: str
) -> None:
    error = await refusal(world.image.execute_update("record_performance", {**log("bad"), **bad}))
    assert reason in error.message
    without = log("bad")
    del without["final_dissonance"]
    error = await refusal(world.image.execute_update("record_performance", without))
    assert "final_dissonance: Field required" in error.message
    evidence = (await world.pending_proposal()).evidence
    assert evidence["arguments under the present settings"] == 4


async def test_a_childs_word_that_does_not_validate_is_set_aside_in_sight(world: World) -> None:
    await world.image.signal("task_completed", {"task_id": "x", "log": log("x", final_dissonance="NaN")})
    await world.image.signal("task_completed", {"task_id": "x", "log": log("x")})
    await world.image.signal("loop_concluded", ["approved"])

    async def aside() -> bool:
        return len((await world.status()).set_aside) == 3

    assert await until(aside)
    assert (await world.state()).window == []


async def test_a_forged_conclusion_cannot_change_the_settings(world: World) -> None:
    view = await world.pending_proposal()
    for changes in (
        [{"key": "autopoiesis.max_turns", "old": 2, "new": 9}],
        [{"key": "governance.approval_timeout", "old": "7d", "new": "1s"}],
        [{"key": "nonsense", "old": 0, "new": 1}],
    ):
        await world.image.signal(
            "loop_concluded",
            {
                "loop_id": view.loop_id,
                "state": "approved",
                "changes": changes,
                "decided_at": "2026-01-01T00:00:00Z",
            },
        )
    assert (await world.ask("Still there?")).synthesis
    state = await world.state()
    assert (state.settings, state.ledger.revision) == (world.on_file(), 1)


# --- phases ---


async def test_a_paused_image_starts_nothing_and_forgets_nothing(world: World) -> None:
    assert (await world.update("pause", {"reason": "lunch"}, ImageStatus)).phase == "paused"
    receipt = await world.submit("Later?")
    await world.record_reasons()
    status = await world.status()
    assert (status.queued, status.running, status.waiting_loops) == (1, 0, [])
    assert (await world.update("resume", None, ImageStatus)).phase == "active"
    assert (await world.result(receipt)).synthesis
    assert await until(lambda: _loops(world))


async def _loops(world: World) -> list[str]:
    return (await world.status()).waiting_loops


async def test_a_retired_image_finishes_what_runs_and_says_what_it_dropped(world: World) -> None:
    world.edit({"system.max_concurrent_tasks": 1})
    await world.update("reload_settings", None, ReloadReceipt)
    view = await world.pending_proposal()
    world.ollama.answering.clear()
    running = await world.submit("Mine still?")
    await world.ollama.until(lambda: len(world.ollama.calls) == 1)
    await world.submit("Mine no more?")
    assert (await world.update("retire", {"reason": "moving"}, ImageStatus)).phase == "retiring"
    assert "is retiring" in (await refusal(world.submit("Mine neither?"))).message
    world.ollama.answering.set()
    assert (await world.result(running)).synthesis
    final = await world.image.result()
    assert final.phase == "retired"
    dropped, finished = final.finished
    assert (dropped.outcome, dropped.failure) == ("failed", "Retired: the image was retired. moving")
    assert finished.outcome == "converged"
    assert (await world.loop(view.loop_id).result()).state == "rejected"
    assert final.ledger.amendments[-1].decided_by == world.name


async def test_an_image_outlives_a_request_for_cancellation(world: World) -> None:
    await world.image.cancel()
    assert (await world.ask("Still alive?")).synthesis
    assert (await world.status()).phase == "active"


# --- settings ---


async def test_a_persons_edit_is_adopted_and_recorded_as_theirs(world: World) -> None:
    world.edit({"autopoiesis.convergence_threshold": 0.2})
    receipt = await world.update("reload_settings", None, ReloadReceipt)
    assert (receipt.revision, receipt.changed) == (2, True)
    (entry,) = await world.image.query(LivingImage.amendments)
    assert (entry.source, entry.state, entry.revision) == ("person", "adopted", 2)
    assert entry.changes[0].model_dump() == {
        "key": "autopoiesis.convergence_threshold",
        "old": 0.4,
        "new": 0.2,
    }
    assert entry.decided_by
    again = await world.update("reload_settings", None, ReloadReceipt)
    assert (again.revision, again.changed) == (2, False)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("max_turns = 2", "max_turns = 99", "max_turns = 99: must be less than or equal to 10"),
        ("max_turns = 2", 'max_turns = "two"', "must be a valid integer"),
        ("max_turns = 2", "max_truns = 2", "max_truns is not a known key"),
        ("max_turns = 2", "max_turns = ", "line"),
        ("image_id = ", 'image_id = "another" #', "keeps its name"),
        ("task_queue = ", 'task_queue = "another" #', "cannot move"),
    ],
)
async def test_an_invalid_edit_is_refused_with_the_reason_and_the_last_good_settings_hold(
    world: World, before: str, after: str, reason: str
) -> None:
    good, settings = world.file.read_text(), (await world.state()).settings
    world.file.write_text(good.replace(before, after, 1))
    error = await refusal(world.image.execute_update("reload_settings"))
    assert reason in error.message
    assert reason in (await world.status()).settings_problem
    state = await world.state()
    assert (state.settings, state.ledger.revision, state.ledger.amendments) == (settings, 1, [])
    world.file.write_text(good)
    await world.update("reload_settings", None, ReloadReceipt)
    assert (await world.status()).settings_problem == ""


async def test_the_image_is_found_by_its_phase_and_revision(world: World, client: Client) -> None:
    world.edit({"models.temperature": 0.1})
    await world.update("reload_settings", None, ReloadReceipt)
    await world.update("pause", None, ImageStatus)

    async def found() -> list[str]:
        query = f"ImagePhase = 'paused' AND SettingsRevision = 2 AND WorkflowId = '{world.name}'"
        return [one.id async for one in client.list_workflows(query)]

    assert await until(found) == [world.name]
