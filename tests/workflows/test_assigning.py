"""Other programs ask for the settings of their tasks, hand in their logs, and are verified like ours."""

from collections import Counter
from pathlib import Path
from typing import Any

from temporalio.client import Client

from messages.tasks import Assignment, LogReceipt
from testbed.fake_ollama import FakeOllama
from testbed.world import World
from tests.workflows.refusing import refusal
from tests.workflows.verified import TURNS, approved, at_once, verification


async def assign(world: World, task_id: str) -> Assignment:
    return await world.update("assign", {"task_id": task_id}, Assignment)


async def hand_in(world: World, task_id: str, dissonance: float, **more: Any) -> None:
    log = {"task_id": task_id, "final_dissonance": dissonance, "turn_count": 1, "outcome": "max_turns"}
    await world.update("record_performance", {**log, **more}, LogReceipt)


async def test_what_harms_the_tasks_of_another_program_is_stopped(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with approved(client, ollama, tmp_path) as (world, _):
        for number in range(20):
            given = await assign(world, f"theirs-{number}")
            assert given.values[TURNS] == {"old": 2, "new": 3}[given.arm or ""]
            await hand_in(world, given.task_id, 0.9 if given.arm == "new" else 0.1)
            found = await verification(world)
            if found.verdict:
                break
        assert (found.verdict, found.pinned) == ("harmful", True)
        after = await assign(world, "after")
        assert (after.values[TURNS], after.arm) == (2, None)
        assert world.on_file().autopoiesis.max_turns == 3


async def test_many_tasks_at_once_make_half_as_many_blocks_whatever_their_logs_say(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with approved(client, ollama, tmp_path) as (world, _):
        names = [f"theirs-{number}" for number in range(18)]
        given = await at_once(*(assign(world, name) for name in names))
        again = await at_once(*(assign(world, name) for name in names))
        assert again == given
        claims = {"arm": "new", "settings_digest": "made up", "conditions": "0" * 12}
        await at_once(*(hand_in(world, name, 0.5, **claims) for name in reversed(names)))
        assert (await verification(world)).blocks == 9
        logs = {log.task_id: log for log in (await world.state()).window if log.task_id in names}
        assert {name: logs[name].arm for name in names} == {one.task_id: one.arm for one in given}
        assert {logs[one.task_id].settings_digest == one.settings_digest for one in given} == {True}
        assert {log.conditions for log in logs.values()} == {""}
        assert all(log.finished_at for log in logs.values())
        assert Counter(one.arm for one in given) == {"old": 9, "new": 9}
        assert (await world.state()).assigning.tasks == []


async def test_settings_are_given_for_new_tasks_of_others_only(world: World) -> None:
    text = '[custom.length]\nvalue = 20\nlow = 5\nhigh = 80\nstep = 20\nmeaning = "words of a line"\n'
    world.file.write_text(f"{world.file.read_text()}\n{text}")
    await world.update("reload_settings", None, dict)
    given = await assign(world, "theirs")
    assert (given.custom, given.arm) == ({"length": 20}, None)
    assert (given.values["custom.length.value"], given.values[TURNS]) == (20, 2)
    assert given.settings_digest == (await world.state()).ledger.digest
    # An edit holds for whoever asks again.
    world.edit({"custom.length.value": 25})
    await world.update("reload_settings", None, dict)
    assert (await assign(world, "theirs")).custom == {"length": 25}
    await hand_in(world, "theirs", 0.5)
    await world.ask("Is it so?", task_id="ours")
    refused = {
        "theirs": "the log of theirs is in already; give a new task a new name",
        "ours": "ours is a task of the image itself; give yours another name",
        None: 'say for which task: {"task_id": "..."}',
    }
    for task_id, reason in refused.items():
        message = await refusal(world.image.execute_update("assign", {"task_id": task_id}))
        assert message.message == reason
    # It retires as long as one of its tasks runs.
    world.ollama.answering.clear()
    calls = len(world.ollama.calls)
    await world.submit("Is it still so?")
    await world.ollama.until(lambda: len(world.ollama.calls) > calls)
    await world.update("retire", None, dict)
    late = await refusal(world.image.execute_update("assign", {"task_id": "late"}))
    assert "is retiring" in late.message
    world.ollama.answering.set()
