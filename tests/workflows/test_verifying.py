"""An approved change is verified, and what has not helped is taken back with a person's consent."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from configuration import Value
from messages.image import ImageStatus, Rated, ReloadReceipt
from messages.loops import LoopReceipt
from messages.verification import VerificationView
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.workflows.refusing import refusal
from tests.workflows.servers import server_with_movable_clocks
from tests.workflows.verified import (
    HARM,
    HELP,
    NOTHING,
    TURNS,
    approved,
    ask,
    looked_at,
    reversal,
    script,
    task,
    verdict_of,
    verification,
)

END = "end_verification"
BY_CHANCE = ("WORKFLOW_TASK", "TIMER")


@pytest.fixture(scope="module")
async def short_runs() -> AsyncIterator[WorkflowEnvironment]:
    """A dev server that suggests continue-as-new after 120 events."""
    async with await server_with_movable_clocks(events_a_run=120) as environment:
        yield environment


async def test_a_change_that_does_harm_is_stopped_and_taken_back_with_a_persons_consent(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(HARM)
    async with approved(client, ollama, tmp_path) as (world, _):
        text = world.file.read_text()
        found = await verdict_of(world, HARM)
        assert (found.verdict, found.pinned) == ("harmful", True)
        assert found.harm >= 10
        assert found.blocks < 10
        # No more traffic to the new settings, although the file still says them.
        assert world.on_file().autopoiesis.max_turns == 3
        stopped = await world.ask("Task 50 of kind a.")
        assert stopped.log.turn_count == 2
        status = await world.status()
        assert (
            "tasks run under the old values, although settings.toml has the new ones" in status.verification
        )
        loop_id = await reversal(world)
        view = await world.proposal(loop_id)
        assert (view.source, view.urgent) == ("reversal", True)
        assert [(change.key, change.old, change.new) for change in view.changes] == [(TURNS, 3, 2)]
        await world.decide(loop_id)
        await world.loops_concluded()
        assert world.file.read_text() == text.replace("max_turns = 3", "max_turns = 2")
        entries = (await world.state()).ledger.amendments
        assert [entry.source for entry in entries] == ["surrogate", "reversal"]
        assert entries[0].verified is not None
        assert entries[0].verified.verdict == "harmful"
        assert (await verification(world)).pinned is False


async def test_a_change_that_helps_is_called_improved_and_stays(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(HELP)
    async with approved(client, ollama, tmp_path) as (world, conclusion):
        found = await verdict_of(world, HELP)
        assert found.verdict == "improved"
        assert found.loop_id == conclusion.loop_id
        assert found.interval is not None
        assert found.interval[0] > 0
        assert (found.claims, found.verified) == (1, 1)
        assert [look.blocks for look in found.looks] == [3]
        logs = [log for log in (await world.state()).window if log.arm]
        assert Counter(log.arm for log in logs) == {"old": 3, "new": 3}
        assert {log.arm: log.turn_count for log in logs} == {"old": 2, "new": 3}
        assert {log.arm: log.active_heuristics[TURNS] for log in logs} == {"old": 2, "new": 3}
        # Both arms are in the table that the optimizer learns from, each under its own values.
        rows = (await world.state()).observing.table()
        assert {row.values[TURNS] for row in rows if row.conditions} == {2, 3}
        assert world.on_file().autopoiesis.max_turns == 3
        entry = (await world.state()).ledger.amendments[-1]
        assert entry.verified is not None
        assert entry.verified.verdict == "improved"
        # The look is on record in the history, whatever machine replays it.
        events = [event async for event in world.image.fetch_history_events()]
        ordered = [event.activity_task_scheduled_event_attributes.activity_type.name for event in events]
        assert ordered.count("look_at_change") == 1
        # And the image may look at its logs again.
        await world.update("reflect", None, LoopReceipt)


async def test_what_cannot_be_told_is_said_to_be_so(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(NOTHING)
    async with approved(client, ollama, tmp_path) as (world, _):
        found = await verdict_of(world, NOTHING)
        assert found.verdict in ("no_difference", "kept_unconfirmed")
        assert (found.pinned, found.claims) == (False, 0)


async def test_a_mix_of_tasks_that_changes_meanwhile_fools_nobody(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    """First hard tasks, then easy ones: whatever the settings, so no claim and no harm."""
    hard, easy = ["opposite"] * 3, ["opposite", "unrelated", "unrelated"]
    ollama.script = script({"a": hard})
    async with approved(client, ollama, tmp_path) as (world, _):
        await ask(world, {"a": hard}, 0, 10)
        ollama.script = script({"b": easy})
        for first in range(10, 20, 2):
            await ask(world, {"b": easy}, first, 2)
        found = await looked_at(world)
        assert found.verdict in ("no_difference", "kept_unconfirmed")
        assert found.effect == pytest.approx(0.0, abs=0.05)


async def test_while_a_change_is_verified_nothing_else_is_proposed(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(NOTHING)
    async with approved(client, ollama, tmp_path, {"cadence.check_every": "1ms"}) as (world, _):
        await ask(world, NOTHING, 0, 4)
        await world.record_reasons()
        status = await world.status()
        assert (status.waiting_loops, status.next_look_at) == ([], None)
        assert "is being verified" in (await refusal(world.update("reflect", None, LoopReceipt))).message


async def test_a_way_back_that_nobody_answers_leaves_the_old_values_in_force_and_asks_once_again(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(HARM)
    async with approved(client, ollama, tmp_path) as (world, conclusion):
        world.edit({"governance.approval_timeout": "3s"})
        await world.update("reload_settings", None, ReloadReceipt)
        await verdict_of(world, HARM)

        async def asked_in_vain() -> bool:
            view = await verification(world)
            return "nobody answered" in view.standing and view.reversal == ""

        await until(asked_in_vain)
        entries = [entry for entry in (await world.state()).ledger.amendments if entry.state == "expired"]
        assert conclusion.loop_id == f"{world.name}/loop/1"
        assert [entry.loop_id for entry in entries] == [f"{world.name}/loop/{number}" for number in (2, 3)]
        assert (await verification(world)).pinned
        assert (await world.ask("Task 51 of kind a.")).log.turn_count == 2
        # A person can end it either way, on record; here by keeping the new values all the same.
        assert "say who decides" in (await refusal(world.update(END, {"action": "accept"}, Any))).message
        kept = await world.update(END, {"action": "accept", "approver": "Ada"}, VerificationView)
        assert (kept.verdict, kept.pinned, kept.ended_by) == ("harmful", False, "Ada")
        assert (await world.ask("Task 52 of kind a.")).log.turn_count == 3
        verified = (await world.state()).ledger.amendments[0].verified
        assert verified is not None
        assert (verified.verdict, verified.ended_by) == ("harmful", "Ada")


async def test_a_rejected_way_back_leaves_the_new_values_in_force(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(HARM)
    async with approved(client, ollama, tmp_path) as (world, _):
        await verdict_of(world, HARM)
        await world.decide(await _pending(world), "reject", comment="I want it so")
        await world.loops_concluded()

        async def settled() -> bool:
            return (await verification(world)).ended_by == "Ada"

        await until(settled)
        found = await verification(world)
        assert (found.verdict, found.pinned, found.comment) == ("harmful", False, "I want it so")
        assert (await world.ask("Task 53 of kind a.")).log.turn_count == 3


async def test_a_person_can_take_a_change_back_before_there_is_a_verdict(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(HELP)
    async with approved(client, ollama, tmp_path) as (world, _):
        await ask(world, HELP, 0, 2)
        ended = await world.update(END, {"action": "revert", "approver": "Ada"}, VerificationView)
        assert (ended.verdict, ended.ended_by) == ("superseded", "Ada")
        assert world.on_file().autopoiesis.max_turns == 2
        entry = (await world.state()).ledger.amendments[-1]
        assert (entry.decided_by, entry.state) == ("Ada", "adopted")
        assert (
            "no change is being verified"
            in (
                await refusal(world.update(END, {"action": "accept", "approver": "Ada"}, VerificationView))
            ).message
        )


async def test_an_edit_in_the_middle_supersedes_it(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(HELP)
    async with approved(client, ollama, tmp_path) as (world, _):
        await ask(world, HELP, 0, 2)
        world.edit({"cadence.window": 90})
        await world.update("reload_settings", None, ReloadReceipt)
        assert (await verification(world)).verdict is None  # it is not about what arguments come to
        world.edit({TURNS: 4})
        await world.update("reload_settings", None, ReloadReceipt)
        await ask(world, HELP, 2, 2)
        found = await verification(world)
        assert (found.verdict, found.blocks, found.verified) == ("superseded", 1, 0)
        last = [log for log in (await world.state()).window if log.conditions][-2:]
        assert [log.arm for log in last] == [None, None]


async def test_a_persons_own_edit_is_verified_where_they_ask_and_never_taken_back_by_itself(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(HARM)
    async with World(client, ollama, tmp_path, {"optimizer.verify_blocks": 20}) as world:
        assert (
            "no person's edit is in the ledger"
            in (await refusal(world.update("verify_settings", None, VerificationView))).message
        )
        world.edit({TURNS: 3})
        await world.update("reload_settings", None, ReloadReceipt)
        begun = await world.update("verify_settings", None, VerificationView)
        assert (begun.blocks, begun.verdict, begun.revision) == (0, None, 2)
        found = await verdict_of(world, HARM)
        assert (found.verdict, found.pinned) == ("harmful", False)
        assert (await world.ask("Task 54 of kind a.")).log.turn_count == 3
        await world.decide(await _pending(world))
        await world.loops_concluded()
        assert world.on_file().autopoiesis.max_turns == 2


async def test_too_few_tasks_end_it_when_its_time_is_up(
    short_runs: WorkflowEnvironment, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(HELP)
    async with approved(short_runs.client, ollama, tmp_path) as (world, _):
        await ask(world, HELP, 0, 2)
        await world.at_rest()
        assert (await verification(world)).verdict is None
        await short_runs.fast_forward(world.image, timedelta(days=31))

        async def ended() -> bool:
            return (await verification(world)).verdict is not None

        await until(ended)
        found = await verification(world)
        assert (found.verdict, found.blocks) == ("kept_unconfirmed", 1)


async def test_a_person_who_finds_the_new_answers_worse_stops_it(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(NOTHING)
    async with approved(client, ollama, tmp_path, {"optimizer.verify_blocks": 200}) as (world, _):
        await ask(world, NOTHING, 0, 24)
        for view in (await world.state()).finished:
            rating = {"task_id": view.task_id, "rating": 1.0 if view.arm == "old" else 0.0}
            await world.update("rate_task", rating, Rated)
        found = await verification(world)
        assert found.verdict == "harmful"
        assert found.guardrails["ratings"] >= 20


async def test_a_verification_adds_nothing_to_the_history_of_the_image(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    """Beside a task's own events there is none: no activity, no signal, no timer."""
    ollama.script = script(NOTHING)

    async def events_of_ten_tasks(world: World, first: int) -> Counter[str]:
        await world.at_rest()
        last = [event async for event in world.image.fetch_history_events()][-1].event_id
        for number in range(first, first + 10):
            await world.ask(task(number, list(NOTHING)))
            await world.at_rest()
        events = [event async for event in world.image.fetch_history_events() if event.event_id > last]
        kinds = Counter(EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in events)
        # How many messages meet in one workflow task is chance, and no timer is set between those.
        assert kinds["TIMER_STARTED"] <= 2 * 10
        return Counter({kind: n for kind, n in kinds.items() if not kind.startswith(BY_CHANCE)})

    settings: dict[str, Value] = {
        "optimizer.verify_blocks": 200,
        "motivator.idle_after": "1h",
        "cadence.min_logs": 100,
    }
    async with approved(client, ollama, tmp_path, settings) as (world, _):
        compared = await events_of_ten_tasks(world, 0)
        assert (await verification(world)).blocks == 5
        await world.update(END, {"action": "accept", "approver": "Ada"}, VerificationView)
        assert compared == await events_of_ten_tasks(world, 10)


async def test_blocks_count_once_with_six_tasks_at_once_and_a_pause(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(NOTHING)
    settings: dict[str, Value] = {"optimizer.verify_blocks": 200, "system.max_concurrent_tasks": 6}
    async with approved(client, ollama, tmp_path, settings) as (world, _):
        asking = asyncio.create_task(ask(world, NOTHING, 0, 30))
        await world.update("pause", None, ImageStatus)
        await world.update("resume", None, ImageStatus)
        await asking
        assert (await verification(world)).blocks == 15
        logs = [log for log in (await world.state()).window if log.arm]
        assert Counter(log.arm for log in logs) == {"old": 15, "new": 15}


async def _pending(world: World) -> str:
    """The loop that asks for the way back, once a person can decide."""
    loop_id = await reversal(world)
    await world.proposal(loop_id)
    return loop_id


async def test_blocks_count_once_across_runs_of_the_image(
    short_runs: WorkflowEnvironment, ollama: FakeOllama, tmp_path: Path
) -> None:
    ollama.script = script(NOTHING)
    settings: dict[str, Value] = {"optimizer.verify_blocks": 200}
    async with approved(short_runs.client, ollama, tmp_path, settings) as (world, _):
        await ask(world, NOTHING, 0, 24)
        assert (await world.status()).runs > 2
        assert (await verification(world)).blocks == 12
