"""Recalling over real HTTP against the scripted model server, beside a real Temporal server."""

from pathlib import Path

import pytest
from temporalio.client import Client

from activities.memory import recall
from activities.memory.embedding import UNRELATED
from activities.memory.recall import SYNTHESIS_CHARACTERS, TASK_CHARACTERS, Memory
from activities.memory.store import MemoryStore
from activities.model_server.backend import ModelBackend
from testbed.fake_ollama import FakeOllama
from testbed.ports import free_port
from testbed.world import until
from tests.activities.remembering import EMBEDDING, TASKS, Remembering, names, not_embedded


async def test_embeddings_find_what_bears_on_a_text_and_leave_out_the_rest(remembering: Remembering) -> None:
    recalled = await remembering.recall("Trees or shade roofs: which would a town plant?")
    assert (names(recalled), recalled.means) == (["trees"], f"embeddings {EMBEDDING}")
    (item,) = recalled.items
    assert (item.task, item.synthesis) == (TASKS["trees"], "Yes.")
    assert 0.25 <= item.score <= 1
    assert names(await remembering.recall("Which recipe makes lentil soup?")) == []


async def test_what_is_remembered_is_embedded_once_and_what_is_unrelated_measured_once(
    remembering: Remembering, ollama: FakeOllama
) -> None:
    await remembering.recall("Trees?")
    await remembering.recall("Trees again?")
    remembering.keep("new", "Are new trees better?")
    await remembering.recall("Trees once more?")
    sent = [text for request in ollama.embeddings for text in request.texts]
    for task in TASKS.values():
        assert sent.count(f"{task}\nYes.") == 1
    assert sent.count("Are new trees better?\nYes.") == sent.count(UNRELATED[0]) == 1


@pytest.mark.parametrize("change", ["model", "dimension"])
async def test_another_model_or_dimension_embeds_anew(
    remembering: Remembering, ollama: FakeOllama, change: str
) -> None:
    await remembering.recall("Trees in a town?")
    if change == "dimension":
        ollama.script.dimension = 300
    model = "other" if change == "model" else EMBEDDING

    async def embedded() -> list[str]:
        recalled = await remembering.recall("Plant trees in a town?", model=model)
        return names(recalled) if recalled.means == f"embeddings {model}" else []

    assert await until(embedded) == ["trees"]


async def test_what_is_not_embedded_yet_is_found_by_shared_words(
    remembering: Remembering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "GATHERING", 0.1)
    with not_embedded(TASKS["piano"]):
        recalled = await remembering.recall_in_time("Which bridge carries traffic?")
    assert names(recalled)[0] == "bridge"
    assert recalled.means == f"embeddings {EMBEDDING}, and shared words for 3 not embedded yet"

    async def embedded() -> bool:
        recalled = await remembering.recall("Which bridge carries traffic?")
        return recalled.means == f"embeddings {EMBEDDING}"

    await until(embedded)


async def test_without_the_embedding_model_shared_words_find_it(
    remembering: Remembering, ollama: FakeOllama
) -> None:
    ollama.script.models = ["qwen2.5:7b", "llama3.1:8b"]
    recalled = await remembering.recall("Would trees shade the town?")
    assert (names(recalled), recalled.means) == (["trees"], f"shared words (no embedding model {EMBEDDING})")
    assert names(await remembering.recall("Which recipe makes lentil soup?")) == []


async def test_a_server_that_refuses_or_is_not_there_leaves_shared_words(
    remembering: Remembering, ollama: FakeOllama
) -> None:
    ollama.script.embedding_status = 400
    refused = await remembering.recall("Would trees shade the town?")
    assert refused.means == f"shared words ({EMBEDDING} does not embed: cannot embed)"
    port = free_port()
    away = await remembering.recall("Would trees shade the town?", host=f"http://127.0.0.1:{port}")
    assert away.means.startswith(f"shared words ({EMBEDDING} at http://127.0.0.1:{port} cannot be asked: ")
    assert names(refused) == names(away) == ["trees"]


async def test_a_task_does_not_recall_itself_and_no_more_than_is_wanted(remembering: Remembering) -> None:
    for number in range(5):
        remembering.keep(f"again-{number}", TASKS["trees"])
    recalled = await remembering.recall(TASKS["trees"], task_id="trees", most=4)
    assert len(recalled.items) == 4
    assert "trees" not in names(recalled)


async def test_what_is_handed_over_is_bounded(remembering: Remembering) -> None:
    remembering.keep("long", "Should trees grow? " * 400, "Trees grow. " * 1000)
    (item,) = (await remembering.recall("Should trees grow?", most=1)).items
    assert (len(item.task), len(item.synthesis)) == (TASK_CHARACTERS, SYNTHESIS_CHARACTERS)


async def test_a_memory_that_cannot_be_used_is_no_failure(
    remembering: Remembering, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    remembering.memory = Memory(client, ModelBackend(), MemoryStore(tmp_path / "folder"))
    recalled = await remembering.recall_in_time("Trees?")
    assert recalled.items == []
    assert recalled.means.startswith("nothing: the memory of this machine cannot be used (")
