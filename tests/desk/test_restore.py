"""An image brought back from a snapshot on an empty server, and every reason to refuse one."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.filesize import decimal
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from connection.places import memory_file
from messages.files import SnapshotReceipt
from messages.image import ReloadReceipt
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.desk.command_line import Starter
from tests.workflows import verified
from tests.workflows.servers import server_with_movable_clocks

TREES = "Should a town plant trees along its streets?"
TREES_OR_ROOFS = "Should a town plant trees or build shade roofs?"
RECORDED = Path(__file__).parents[1] / "snapshots" / "a-life.image"
BOOKKEEPING = {"active_at", "saved_at", "saved_generation", "snapshot_problem", "next_look_at"}


@pytest.fixture(scope="module")
async def empty() -> AsyncIterator[WorkflowEnvironment]:
    """Another server, which has never heard of the image."""
    async with await server_with_movable_clocks() as environment:
        yield environment


class Elsewhere(World):
    """The same image's file and workers, on another server."""

    def __init__(self, world: World, client: Client, ollama: FakeOllama) -> None:
        super().__init__(client, ollama, world.file.parent)
        self.file.write_bytes(self.text)
        self.name = world.name

    text: bytes


def elsewhere(world: World, client: Client, ollama: FakeOllama) -> Elsewhere:
    Elsewhere.text = world.file.read_bytes()
    return Elsewhere(world, client, ollama)


@pytest.fixture
async def other(
    world: World, empty: WorkflowEnvironment, ollama: FakeOllama
) -> AsyncIterator[tuple[World, Starter]]:
    there = elsewhere(world, empty.client, ollama)
    starter = Starter(there.file.parent, there.address)
    await there.start_workers()
    yield there, starter
    starter.stop_all()
    await there.stop_workers()


def damage(path: str) -> None:
    Path(path).write_bytes(Path(path).read_bytes()[:-40])


def forget(memory: Path) -> None:
    """Delete the memory of this machine, of which another machine would have nothing either."""
    for file in memory.parent.glob(f"{memory.name}*"):
        file.unlink(missing_ok=True)  # SQLite takes its own away when nobody has it open any more


async def save(world: World) -> str:
    return (await world.update("save_image", None, SnapshotReceipt)).path


async def test_an_image_is_the_same_on_an_empty_server(
    world: World, starter: Starter, other: tuple[World, Starter]
) -> None:
    there, starter_there = other
    await world.ask(TREES, task_id="first")
    recalled = await until(lambda: _recalled(starter))
    view = await world.pending_proposal()
    await world.decide(view.loop_id)
    await world.loops_concluded()
    path = await save(world)
    text = world.file.read_text()
    forget(memory_file(world.state_dir))
    ran = await starter_there("restore", path)
    assert (ran.code, ran.err) == (0, "")
    assert "was restored from generation 1" in ran.out
    before, after = await world.state(), await there.state()
    assert after.model_dump(exclude={"keeping"}) == before.model_dump(exclude={"keeping"})
    statuses = [(await image.status()).model_dump(exclude=BOOKKEEPING) for image in (world, there)]
    assert statuses[0] == statuses[1]
    assert [entry.state for entry in after.ledger.amendments] == ["approved"]
    assert await _recalled(starter_there) == recalled
    assert world.file.read_text() == text
    assert (await there.ask("And now?", task_id="second")).synthesis
    assert (await there.update("save_image", None, SnapshotReceipt)).generation == 2


async def _recalled(starter: Starter) -> Any:
    return (await starter("memory", "search", TREES, "--json")).json["items"]


async def test_a_verification_goes_on_where_it_was(world: World, other: tuple[World, Starter]) -> None:
    there, starter = other
    world.ollama.script = verified.script(verified.HARM)
    world.edit({"optimizer.verify_blocks": 10})
    await world.update("reload_settings", None, ReloadReceipt)
    await world.decide((await world.pending_proposal()).loop_id)
    await world.loops_concluded()
    await verified.ask(world, verified.HARM, 0, 4)
    path = await save(world)
    await world.image.terminate()
    assert (await starter("restore", path)).code == 0
    assert (await verified.verification(there)).blocks == 2
    found = await verified.verdict_of(there, verified.HARM)
    assert (found.verdict, found.blocks, found.pinned) == ("harmful", 5, True)
    assert (await there.proposal(await verified.reversal(there))).urgent


async def test_what_was_under_way_is_queued_again_word_for_word(
    world: World, other: tuple[World, Starter]
) -> None:
    there, starter = other
    world.ollama.answering.clear()
    long = "Why is it so, and " * 30 + "not otherwise?"
    for number, task in enumerate((long, "two", "three")):
        await world.submit(task, task_id=f"task-{number}")
    await world.ollama.until(lambda: len(world.ollama.calls) == 2)
    path = await save(world)
    world.ollama.answering.set()
    ran = await starter("restore", path, "--json")
    assert ran.json["queued_again"] == ["task-0", "task-1", "task-2"]
    for number in range(3):
        await until(partial(_finished, there, f"task-{number}"))
    transcript = there.client.get_workflow_handle(f"{there.name}/task/task-0")
    assert (await transcript.query("transcript"))["task"] == long


async def _finished(world: World, task_id: str) -> bool:
    return any(task.task_id == task_id for task in (await world.state()).finished)


async def test_a_living_image_is_never_replaced(world: World, starter: Starter) -> None:
    await world.record_logs(1)
    path = await save(world)
    ran = await starter("restore", path, "--yes")
    assert ran.code == 1
    assert ran.sentence.startswith(f"{world.name} is alive, and a snapshot never takes the place")
    await world.stop_workers()
    ran = await starter("restore", path, "--yes")
    assert ran.sentence.startswith(f"{world.name} is alive, and a snapshot never takes the place")


async def test_an_image_in_which_nothing_has_happened_makes_room_when_a_person_says_so(
    world: World, other: tuple[World, Starter]
) -> None:
    there, starter = other
    await world.ask(TREES, task_id="first")
    path = await save(world)
    await there.start()
    asked = await starter("restore", path)
    assert asked.code == 2
    assert f"A new {there.name} lives here; nothing has happened in it, and restoring ends it." in asked.err
    assert (await there.state()).is_newborn()
    assert (await starter("restore", path, "--yes")).code == 0
    assert [task.task_id for task in (await there.state()).finished] == ["first"]


async def test_on_the_same_server_an_old_dialogue_is_no_obstacle(world: World, starter: Starter) -> None:
    world.ollama.answering.clear()
    await world.submit("Half done?", task_id="half")
    await world.ollama.until(lambda: len(world.ollama.calls) == 1)
    path = await save(world)
    await world.image.terminate()
    world.ollama.answering.set()
    ran = await starter("restore", path, "--json")
    (name,) = ran.json["queued_again"]
    assert ran.json["renamed"] == {"half": name}
    await until(lambda: _finished(world, name))


async def test_settings_that_differ_are_rewritten_only_when_asked(
    world: World, other: tuple[World, Starter]
) -> None:
    there, starter = other
    path = await save(world)
    there.edit({"autopoiesis.max_turns": 7, "motivator.idle_after": "5m"})
    edited = there.file.read_text()
    dry = await starter("restore", path, "--dry-run")
    assert dry.code == 0
    assert "autopoiesis.max_turns: 7 → 2" in dry.out
    refused = await starter("restore", path)
    assert refused.code == 2
    assert "autopoiesis.max_turns: 7 → 2" in refused.err
    assert "Add --yes to restore without being asked" in refused.err
    assert there.file.read_text() == edited
    done = await starter("restore", path, "--yes")
    assert (done.code, "settings.toml was rewritten" in done.out) == (0, True)
    state = await there.state()
    assert there.on_file() == state.settings
    assert "# Turns of thesis and antithesis" in there.file.read_text()
    (backup,) = (there.file.parent / "settings.backups").iterdir()
    assert backup.read_text() == edited
    await there.update("reload_settings", None, dict)
    assert (await there.state()).ledger.revision == state.ledger.revision


async def test_another_name_needs_a_file_that_names_it(world: World, other: tuple[World, Starter]) -> None:
    there, starter = other
    path, name = await save(world), f"{world.name}-b"
    refused = await starter("restore", path, "--as", name)
    assert refused.code == 2
    assert refused.sentence.startswith(f"--as {name} needs a settings file that names that image")
    there.edit({"system.image_id": name})
    assert (await starter("restore", path, "--as", name)).code == 0
    assert (await there.client.get_workflow_handle(name).query("status"))["image_id"] == name


async def test_an_image_that_an_earlier_version_saved_lives_on(
    other: tuple[World, Starter], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, starter = other
    # No port of this machine is in the recorded settings.
    monkeypatch.setenv("OLLAMA_HOST", there.ollama.url)
    there.edit({"system.image_id": "recorded"})
    ran = await starter("restore", str(RECORDED), "--yes", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["queued_again"], ran.json["memories"]) == (["waits"], 1)
    there.name = "recorded"
    status, state = await there.status(), await there.state()
    assert (status.phase, status.revision, status.finished, status.queued) == ("paused", 2, 1, 1)
    assert [(entry.state, entry.decided_by) for entry in state.ledger.amendments] == [("approved", "Ada")]
    assert state.settings == there.on_file()
    assert state.settings.autopoiesis.max_turns == 3
    (item,) = await _recalled(starter)
    assert (item["task_id"], item["task"]) == ("trees", TREES_OR_ROOFS)
    await there.update("resume", None, dict)
    await until(partial(_finished, there, "waits"))


async def test_a_damaged_file_is_refused_and_nothing_is_started(
    world: World, other: tuple[World, Starter]
) -> None:
    _, starter = other
    path = await save(world)
    damage(path)
    ran = await starter("restore", path)
    assert ran.code == 1
    assert "it is cut off" in ran.sentence
    assert (await starter("status")).code == 2
    missing = await starter("restore", "nowhere.image")
    assert (missing.code, "nowhere.image cannot be read" in missing.sentence) == (2, True)


async def test_snapshots_are_listed_with_what_is_wrong_with_them(world: World, starter: Starter) -> None:
    assert "No snapshots yet" in (await starter("snapshots")).out
    first = (await starter("snapshot", "--json")).json["path"]
    await world.record_logs(1)
    told = await starter("snapshot")
    assert told.out.startswith("Generation 2 is in ")
    damage(first)
    newest, oldest = (await starter("snapshots", "--json")).json
    assert (newest["generation"], newest["problem"]) == (2, "")
    assert (oldest["generation"], "it is cut off" in oldest["problem"]) == (1, True)
    listed = (await starter("snapshots")).out
    size = f"  {decimal(newest['bytes'])}  verifies"
    for words in ("generation 2", size, f"  snapshots/{world.name}.00000001.image", "it is cut off"):
        assert words in listed
    assert "last snapshot" in (await starter("status")).out
