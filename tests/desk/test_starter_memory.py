"""`starter.py memory`, and what the other commands say of the memory."""

import pytest

from activities.memory.store import MemoryStore
from connection.places import memory_file
from desk.client import Desk
from desk.remembering import rebuild
from messages.memory import Recalled
from messages.tasks import DialogueResult
from testbed.world import World, until
from tests.desk.command_line import Ran, Starter

# What is said of a recall that a busy machine gave too little time.
LATE = ("took longer than", "took too long", "was too slow", "are still read")
TREES = "Should a town plant trees or build shade roofs?"


@pytest.fixture(autouse=True)
def research(world: World) -> None:
    world.ollama.script.needs_research = True


async def remembered(starter: Starter, count: int) -> None:
    """Wait until the server's list, which lags behind, holds so many tasks."""

    async def found() -> bool:
        ran = await starter("memory", "rebuild", "--json")
        assert ran.code == 0, ran.err
        return bool(ran.json["remembered"] == count)

    await until(found)


async def test_a_search_says_what_is_remembered_and_by_which_means(world: World, starter: Starter) -> None:
    result = await world.ask(TREES, task_id="trees")
    await remembered(starter, 1)
    ran = await starter("memory", "search", "trees in town")
    assert (ran.code, ran.err) == (0, "")
    for words in ("trees", TREES, result.synthesis, "1 found by embeddings nomic-embed-text"):
        assert words in ran.out
    world.ollama.script.models = ["qwen2.5:7b"]
    found = Recalled.model_validate((await starter("memory", "search", "trees in town", "--json")).json)
    assert [item.task_id for item in found.items] == ["trees"]
    assert found.means == "shared words (no embedding model nomic-embed-text)"
    ran = await starter("memory", "search", 'NEAR OR " ( *')
    assert (ran.code, "Nothing found by shared words" in ran.out) == (0, True)


async def test_a_store_that_was_deleted_is_rebuilt(world: World, starter: Starter) -> None:
    for number in range(3):
        await world.ask(f"{TREES} {number}", task_id=f"task-{number}")
    await remembered(starter, 3)
    file = memory_file(world.state_dir)
    before = sorted(map(str, MemoryStore(file).entries(world.name)))
    file.unlink()
    ran = await starter("memory", "rebuild")
    assert (ran.code, ran.out) == (0, f"{world.name} remembers 3 tasks on this machine.\n")
    assert sorted(map(str, MemoryStore(file).entries(world.name))) == before


async def test_a_rebuilt_store_holds_what_was_kept_elsewhere_too(world: World, starter: Starter) -> None:
    await world.ask(TREES, task_id="trees")
    await remembered(starter, 1)
    kept = {"image_id": world.name, "task_id": "old", "task": "Why?", "synthesis": "So."}
    kept["finished_at"] = "2020-01-01T12:00:00.000000+00:00"
    done = await rebuild(Desk(world.client, world.name), world.state_dir, kept=lambda: [kept])
    assert done.remembered == 2
    assert kept in MemoryStore(memory_file(world.state_dir)).entries(world.name)


async def asked(starter: Starter, *words: str) -> Ran:
    """The answer to a task for which the memory was in time; each time it is asked it is another task."""

    async def in_time() -> Ran | None:
        ran = await starter("ask", *words)
        assert ran.code == 0, ran.err
        told = " ".join(ran.out.split())
        return None if any(late in told for late in LATE) else ran

    ran: Ran = await until(in_time, 120)
    return ran


async def test_ask_shows_what_was_recalled_plain_and_while_it_follows(world: World, starter: Starter) -> None:
    await world.ask(TREES, task_id="trees")
    await remembered(starter, 1)
    plain = await asked(starter, "Should the town plant more trees?")
    followed = await asked(starter, "Should the town plant young trees?", "--follow")
    for ran in (plain, followed):
        assert "Recalled by embeddings nomic-embed-text" in ran.out
        assert TREES in ran.out
    other = await asked(starter, "Which recipe makes lentil soup?")
    assert "Recalled nothing that bears on this task: by embeddings nomic-embed-text" in other.out
    result = await asked(starter, "Are trees good for a town?", "--json")
    assert "trees" in {item.task_id for item in DialogueResult.model_validate(result.json).recalled}


@pytest.mark.parametrize("command", [("search", "trees"), ("rebuild",)])
async def test_a_place_that_cannot_be_used_is_one_sentence(
    starter: Starter, command: tuple[str, ...]
) -> None:
    (starter.folder / "file").write_text("")
    ran = await starter("memory", *command, "--state-dir", "file")
    assert ran.code == 2
    assert ran.sentence.startswith("The memory file/memory.db cannot be used (")


async def test_an_empty_search_is_one_sentence(starter: Starter) -> None:
    ran = await starter("memory", "search", " ")
    assert (ran.code, ran.sentence[:20]) == (2, "Say what to look for")
