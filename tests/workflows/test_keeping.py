"""An image saves itself: when asked, when idle and as its last act; and nothing that fails there stops it."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.snapshots.format import Snapshot, read
from messages.files import SnapshotReceipt
from messages.image import ImageStatus
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.workflows.refusing import refusal
from workflows.image_state import ImageState
from workflows.orders import files

SOON = {"motivator.idle_after": "200ms"}


def snapshots(world: World) -> list[Path]:
    return sorted((world.file.parent / "snapshots").glob("*.image"))


def loaded(path: Path | str) -> Snapshot:
    return read(Path(path).read_bytes(), b"")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


async def saved(world: World) -> ImageStatus:
    async def has_saved() -> ImageStatus | None:
        status = await world.status()
        return status if status.saved_at else None

    found: ImageStatus = await until(has_saved)
    return found


async def save(world: World, **message: str) -> SnapshotReceipt:
    return await world.update("save_image", message or None, SnapshotReceipt)


@pytest.fixture
async def idling(client: Client, ollama: FakeOllama, tmp_path: Path) -> World:
    """An image that saves itself as soon as it is idle; its workers are not started yet."""
    return World(client, ollama, tmp_path, SOON)


async def test_save_image_answers_with_the_file_it_wrote_and_the_whole_state_is_in_it(world: World) -> None:
    await world.ask("Is it so?")
    await world.record_logs(2)
    receipt = await save(world)
    (path,) = snapshots(world)
    snapshot = loaded(path)
    assert (receipt.path, receipt.bytes, receipt.generation) == (str(path), path.stat().st_size, 1)
    assert receipt.sha256 == snapshot.sha256
    assert snapshot.envelope.state == (await world.state()).model_dump(mode="json", exclude={"keeping"})
    status = await world.status()
    assert (status.saved_generation, status.snapshot_problem) == (1, "")


async def test_saving_again_without_a_change_writes_nothing_and_gives_the_last_receipt(world: World) -> None:
    first = await save(world)
    before = [path.stat().st_mtime_ns for path in snapshots(world)]
    assert await save(world) == first
    assert [path.stat().st_mtime_ns for path in snapshots(world)] == before
    await world.record_logs(1)
    assert (await save(world)).generation == 2


async def test_a_broken_last_snapshot_is_not_taken_for_a_good_one(world: World) -> None:
    first = await save(world)
    cut_off(Path(first.path))
    again = await save(world)
    assert again.generation == 2
    assert loaded(again.path).envelope.state["image_id"] == world.name


async def test_overlapping_saves_are_written_one_after_the_other(world: World) -> None:
    receipts = await asyncio.gather(*(save(world) for _ in range(5)))
    assert {receipt.generation for receipt in receipts} == {1}
    assert len(snapshots(world)) == 1


async def test_what_happens_while_it_is_saved_is_in_a_snapshot_whole_or_not_at_all(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    async with World(client, ollama, tmp_path, {"cadence.min_logs": 100}) as world:
        saves = []
        for _ in range(6):
            logging = asyncio.create_task(world.record_logs(10))
            while not logging.done():
                saves.append(loaded((await save(world)).path))
            await logging
        saves.append(loaded((await save(world)).path))
    states = [ImageState.model_validate(snapshot.envelope.state) for snapshot in saves]
    for state in states:
        assert [log.task_id for log in state.window] == state.seen_logs
        assert (
            sum(tally.arguments for tally in state.ledger.tallies)
            == len(state.window)
            == state.logs_since_look
        )
    logs = [len(state.window) for state in states]
    assert logs == sorted(logs)
    assert logs[-1] == 60
    assert len(set(logs)) > 2


async def test_a_task_that_has_just_ended_is_in_the_memory_of_the_last_snapshot(world: World) -> None:
    result = await world.ask("Is it so?", task_id="last")
    await world.update("retire", None, ImageStatus)
    await world.image.result()
    (path,) = snapshots(world)
    (memory,) = loaded(path).envelope.memory
    assert (memory["task_id"], memory["synthesis"]) == ("last", result.synthesis)


async def test_a_running_task_is_saved_with_every_word_of_it(world: World) -> None:
    world.ollama.answering.clear()
    words = "Why is it so, and " * 40 + "not otherwise?"
    await world.submit(words, task_id="long")
    await world.ollama.until(lambda: len(world.ollama.calls) == 1)
    (task,) = loaded((await save(world)).path).envelope.state["running"]
    assert task["task"] == words
    world.ollama.answering.set()


async def test_an_image_saves_itself_when_idle_and_a_running_task_is_not_idle(idling: World) -> None:
    idling.ollama.answering.clear()
    async with idling:
        await idling.submit("A long one?", task_id="long")
        await idling.ollama.until(lambda: len(idling.ollama.calls) == 1)
        assert (await idling.state()).next_save() is None
        before = (await idling.status()).saved_generation
        idling.ollama.answering.set()

        async def newly_saved() -> ImageStatus | None:
            status = await idling.status()
            return status if status.saved_generation > before else None

        assert (await until(newly_saved)).finished == 1

        async def nothing_to_save() -> bool:
            return (await idling.state()).next_save() is None

        await until(nothing_to_save)  # it looks once more when the workflow of its task has closed


async def test_an_image_that_cannot_be_saved_lives_on_says_why_and_tries_after_the_next_activity(
    idling: World,
) -> None:
    (idling.file.parent / "snapshots").write_text("in the way")
    async with idling:
        await idling.record_logs(1)

        async def told() -> str:
            return (await idling.status()).snapshot_problem

        assert "no snapshot could be written to snapshots" in await until(told)
        assert (await idling.state()).next_save() is None
        # It learns of that only when it tries again.
        (idling.file.parent / "snapshots").unlink()
        assert (await idling.ask("Still there?")).synthesis
        status = await saved(idling)
        assert (status.snapshot_problem, status.saved_generation) == ("", 1)


async def test_without_a_files_worker_the_image_says_that_it_is_not_saved_and_is_saved_once_there_is_one(
    idling: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = replace(files.A_SNAPSHOT, taken_within=timedelta(seconds=1))
    monkeypatch.setattr(files, "A_SNAPSHOT", hasty)
    async with idling:
        await idling.stop_files_worker()
        await idling.record_logs(1)

        async def told() -> str:
            return (await idling.status()).snapshot_problem

        assert (await until(told)).startswith("Timeout: no files worker has done it in time; run")
        assert (await idling.ask("Still there?")).synthesis
        monkeypatch.undo()
        await idling.start_files_worker()
        await idling.record_logs(1)
        assert (await saved(idling)).snapshot_problem == ""


async def test_an_image_in_which_nothing_has_happened_leaves_older_snapshots_alone(idling: World) -> None:
    async with idling:
        assert (await idling.state()).is_newborn()
        await idling.update("retire", None, ImageStatus)
        await idling.image.result()
    assert snapshots(idling) == []


async def test_a_failing_save_is_refused_with_what_to_do(world: World) -> None:
    world.edit({"system.image_path": "settings.toml"})
    refused = await refusal(save(world, path="settings.toml"))
    assert refused.type == "SnapshotFailed"
    assert "no snapshot could be written to settings.toml" in refused.message
    assert (await save(world, path="elsewhere")).path.startswith(str(world.file.parent / "elsewhere"))


async def test_retiring_saves_a_last_time(world: World) -> None:
    await world.ask("Is it so?")
    await world.update("retire", None, ImageStatus)
    end = await world.image.result()
    (path,) = snapshots(world)
    assert loaded(path).envelope.state["phase"] == "retired"
    assert (end.keeping.generation, end.keeping.problem) == (1, "")


async def test_an_image_that_cannot_be_saved_retires_all_the_same(world: World) -> None:
    await world.record_logs(1)
    (world.file.parent / "snapshots").write_text("in the way")
    await world.update("retire", None, ImageStatus)
    assert "no snapshot could be written" in (await world.image.result()).keeping.problem


@pytest.mark.parametrize("place", ["memory://kept", "simplecache::memory://kept"])
async def test_a_place_that_ends_with_its_process_is_refused(world: World, place: str) -> None:
    world.edit({"system.image_path": place})
    await world.update("reload_settings", None, dict)
    told = f"{place} is the memory of one process, so what is put there is lost at once"
    assert told in (await refusal(save(world))).message
    assert told in (await world.status()).snapshot_problem


async def test_a_url_of_any_file_system_will_do_and_keep_counts_good_ones_there(world: World) -> None:
    folder = world.file.parent / "kept"
    world.edit({"system.image_path": f"simplecache::file://{folder}", "system.snapshot_keep": 2})
    await world.update("reload_settings", None, dict)
    for _ in range(4):
        await world.record_logs(1)
        receipt = await save(world)
    assert receipt.path == f"file://{folder}/{world.name}.00000004.image"
    assert len(list(folder.iterdir())) == 2
    assert loaded(folder / f"{world.name}.00000004.image").header.generation == 4
