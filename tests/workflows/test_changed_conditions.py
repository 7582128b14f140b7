"""A change of prompts, models or program shows in the arguments made with it, and is no effect of others."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from activities import conditions
from activities.prompts import PROMPTS
from messages.image import Amendment, HistoryEntry, ReloadReceipt
from messages.tasks import PerformanceLog, Task
from messages.trials import Observation
from testbed.fake_ollama import FakeOllama
from testbed.model_habits import Listing
from testbed.world import World
from tests.workflows.image_states import NOW, SHIPPED, THRESHOLD, TURNS, a_log, a_state
from workflows.image_state import ImageState
from workflows.ledger import CONDITIONS_CHANGED
from workflows.living_image import LivingImage
from workflows.observing import values_at

SHORT_WAIT = conditions.WAITED_FOR_SECONDS


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "words.toml"
    file.write_text(PROMPTS.read_text())
    return file


@pytest.fixture
async def world(client: Client, ollama: FakeOllama, tmp_path: Path, prompts: Path) -> AsyncIterator[World]:
    settings = {"system.max_concurrent_tasks": 8, "cadence.min_logs": 100}
    async with World(client, ollama, tmp_path, settings, prompts=prompts) as running:
        yield running


def rewrite(prompts: Path) -> None:
    """ROBIN is told something else."""
    prompts.write_text(prompts.read_text().replace("[antithesis]", '[antithesis]\nsystem = "Contradict."', 1))


def robins_model(world: World) -> str:
    return world.on_file().models.by_persona()["ROBIN"]


async def argue(world: World, *names: str) -> list[PerformanceLog]:
    return [result.log for result in await asyncio.gather(*(world.ask(f"{name}?") for name in names))]


async def history(world: World) -> list[HistoryEntry]:
    return await world.image.query(LivingImage.history)


async def observations(world: World) -> list[Observation]:
    return await world.image.query(LivingImage.observations)


async def assert_told_as_an_edit(world: World, before: list[PerformanceLog], after: PerformanceLog) -> None:
    assert len({log.conditions for log in before}) == 1
    assert after.conditions not in ("", before[0].conditions)
    (entry,) = await history(world)
    told = entry.amendment
    assert (told.state, told.source, told.justification) == ("adopted", "person", CONDITIONS_CHANGED)
    assert (told.changes, told.revision, told.digest) == ([], 1, told.digest_before)
    assert (told.conditions_before, told.conditions) == (before[0].conditions, after.conditions)
    assert (entry.before.arguments, entry.before.dissonance) == (len(before), 0.3)
    assert (entry.after.arguments, entry.after.dissonance) == (1, 1.0)
    rows = await observations(world)
    assert [(row.conditions, row.dissonance["question"].n) for row in rows] == [
        (before[0].conditions, len(before)),
        (after.conditions, 1),
    ]


async def test_an_edit_of_the_prompts_is_on_the_ledger_with_the_figures_before_and_after_it(
    world: World, prompts: Path
) -> None:
    before = await argue(world, "one", "two")
    rewrite(prompts)
    world.ollama.script.labels = ["opposite"]
    (after,) = await argue(world, "three")
    await assert_told_as_an_edit(world, before, after)


async def test_a_model_that_changed_under_its_name_is_on_the_ledger_too(world: World) -> None:
    before = await argue(world, "one", "two")
    # It is asked once a minute; a worker that has just started asks at once.
    await world.stop_workers()
    world.ollama.script.listing.digests = {robins_model(world): "f" * 64}
    world.ollama.script.labels = ["opposite"]
    await world.start_workers()
    (after,) = await argue(world, "three")
    await assert_told_as_an_edit(world, before, after)
    result = await world.ask("And now?")
    assert result.models[robins_model(world)] == "f" * 12


async def test_an_edit_of_the_settings_is_no_change_of_conditions(world: World) -> None:
    before = await argue(world, "one")
    world.edit({THRESHOLD: 0.5})
    await world.update("reload_settings", None, ReloadReceipt)
    after = await argue(world, "two")
    assert before[0].conditions == after[0].conditions
    (entry,) = await history(world)
    assert (entry.before.arguments, entry.after.arguments) == (1, 1)
    assert [change.key for change in entry.amendment.changes] == [THRESHOLD]


async def test_a_model_server_that_hangs_on_its_list_holds_up_no_task(
    client: Client, ollama: FakeOllama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "WAITED_FOR_SECONDS", SHORT_WAIT)
    ollama.script.listing = Listing(delay_seconds=3600)
    async with World(client, ollama, tmp_path, {"system.max_concurrent_tasks": 6}) as world:
        logs = await argue(world, *"abcdef")
        assert len({log.conditions for log in logs}) == 1
        assert all(log.outcome == "converged" and log.conditions for log in logs)
        assert ollama.listings == 1


async def test_a_log_from_outside_tells_no_conditions(world: World) -> None:
    await world.record_logs(1, conditions="0123456789ab")
    (log,) = (await world.state()).window
    assert log.conditions == ""
    (row,) = await observations(world)
    assert (row.conditions, row.values) == ("", values_at(world.on_file()))


# --- without a server ---


def started(state: ImageState, name: str) -> str:
    state.enqueue(Task(task_id=name, task="Why?", submitted_at=NOW))
    state.ledger.settings = state.settings.with_changes({"system.max_concurrent_tasks": 16})
    assert state.next_task() is not None
    return name


def ended(state: ImageState, name: str, conditions: str, **more: Any) -> None:
    (digest,) = {task.settings_digest for task in state.running if task.task_id == name}
    state.finish(a_log(name, conditions=conditions, settings_digest=digest, **more), "", NOW)


def changes(state: ImageState) -> list[Amendment]:
    return [entry for entry in state.ledger.amendments if entry.changes_conditions]


def test_a_task_that_began_before_a_change_and_ends_after_it_is_no_change_back() -> None:
    state = a_state()
    for name in ("old", "slow", "new", "newer"):
        started(state, name)
    ended(state, "old", "a" * 12)
    ended(state, "new", "b" * 12)
    ended(state, "slow", "a" * 12)
    ended(state, "newer", "b" * 12)
    assert [(entry.conditions_before, entry.conditions) for entry in changes(state)] == [("a" * 12, "b" * 12)]


def test_two_workers_that_differ_do_not_fill_the_ledger() -> None:
    state = a_state()
    for number in range(40):
        ended(state, started(state, f"t{number}"), "ab"[number % 2] * 12)
    assert [entry.conditions for entry in changes(state)] == ["a" * 12, "b" * 12]


def test_a_change_that_comes_again_after_something_else_is_told_again() -> None:
    state = a_state()
    ended(state, started(state, "one"), "a" * 12)
    for number in range(2):
        ended(state, started(state, f"b{number}"), "b" * 12)
        state.ledger.adopt_edit(state.settings.with_changes({TURNS: 7 + number}), "Ada", NOW)
        ended(state, started(state, f"a{number}"), "a" * 12)
    assert [entry.conditions[0] for entry in changes(state)] == ["b", "a", "b", "a"]
    assert state.ledger.revision == 3
    assert state.ledger.settings_at(1) == state.settings.with_changes({TURNS: SHIPPED.autopoiesis.max_turns})


def test_what_changed_later_is_not_counted_as_the_effect_of_a_change_of_settings() -> None:
    state = a_state()
    ended(state, started(state, "before"), "a" * 12)
    state.ledger.adopt_edit(state.settings.with_changes({TURNS: 7}), "Ada", NOW)
    ended(state, started(state, "after"), "a" * 12, final_dissonance=0.4)
    ended(state, started(state, "later"), "b" * 12, final_dissonance=0.0)
    edit, rewritten = state.ledger.history()
    assert (edit.before.dissonance, edit.after.dissonance) == (0.7, 0.4)
    assert (rewritten.before.dissonance, rewritten.after.dissonance) == (0.4, 0.0)
    assert state.ledger.figures(state.ledger.digest).arguments == 2
