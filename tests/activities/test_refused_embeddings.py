"""Texts that the embedder refuses: the others get their vectors, and these are not asked for again."""

import pytest

from activities.memory.embedding import UNRELATED
from activities.memory.store import MemoryStore
from testbed.fake_ollama import EmbeddingFault, FakeOllama
from testbed.world import until
from tests.activities.remembering import EMBEDDING, TASKS, Remembering, names

BAD = TASKS["piano"]


@pytest.fixture(autouse=True)
def many_more(remembering: Remembering) -> None:
    for number in range(20):
        remembering.keep(f"more-{number}", f"How high is hill number {number}?")


def left(store: MemoryStore, remembering: Remembering, dimension: int = 512) -> tuple[int, int]:
    return store.count_without_vector(remembering.image_id, EMBEDDING, dimension)


async def embedded(remembering: Remembering) -> None:
    """Recall until nothing is left to be embedded."""

    async def nothing_left() -> bool:
        await remembering.recall("Trees?")
        return left(remembering.store, remembering)[0] == 0

    await until(nothing_left)


@pytest.mark.parametrize("fault", ["400", "500", "nan", "short"])
async def test_one_text_that_is_refused_costs_no_other_its_vector_and_is_not_asked_for_again(
    remembering: Remembering, ollama: FakeOllama, fault: EmbeddingFault
) -> None:
    ollama.script.embedding_faults = {BAD: fault}
    await embedded(remembering)
    assert left(remembering.store, remembering) == (0, 1)
    ollama.embeddings.clear()
    recalled = await remembering.recall("Should my daughter learn piano?")
    assert "piano" in names(recalled)
    assert recalled.means == f"embeddings {EMBEDDING}, and shared words for 1 that it does not embed"
    assert not [text for request in ollama.embeddings for text in request.texts if BAD in text]
    assert "trees" in names(await remembering.recall("Trees or shade roofs: which would a town plant?"))


async def test_what_is_remembered_anew_may_be_embedded_again(
    remembering: Remembering, ollama: FakeOllama
) -> None:
    ollama.script.embedding_faults = {BAD: "400"}
    await embedded(remembering)
    ollama.script.embedding_faults = {}
    remembering.store.forget(remembering.image_id)
    remembering.keep("piano", BAD)
    assert left(remembering.store, remembering) == (1, 0)
    await embedded(remembering)
    assert left(remembering.store, remembering) == (0, 0)


async def test_a_text_that_is_too_long_is_embedded_by_its_beginning(
    remembering: Remembering, ollama: FakeOllama
) -> None:
    ollama.script.longest_embedded = 1_500
    remembering.keep("long", "Which tram goes to the harbour? " + "It is so. " * 1_500)
    await embedded(remembering)
    assert left(remembering.store, remembering) == (0, 0)
    recalled = await remembering.recall("Which tram goes to the harbour?")
    assert (names(recalled), recalled.means) == (["long"], f"embeddings {EMBEDDING}")


async def test_a_question_that_is_refused_falls_back_to_shared_words_with_the_reason(
    remembering: Remembering, ollama: FakeOllama
) -> None:
    await embedded(remembering)
    ollama.script.embedding_faults = {"daughter": "500"}
    recalled = await remembering.recall("Should my daughter learn piano?")
    assert names(recalled) == ["piano"]
    assert recalled.means == f"shared words ({EMBEDDING} does not embed: cannot embed this)"


async def test_a_server_that_embeds_nothing_for_a_while_has_refused_nothing(
    remembering: Remembering, ollama: FakeOllama
) -> None:
    # All that is remembered, and what it would be asked for to see whether it embeds anything at all.
    ollama.script.embedding_faults = {"Yes.": "500", UNRELATED[0]: "500"}
    remembering.store.set_unrelated(EMBEDDING, 512, 0.0)
    for _ in range(3):
        recalled = await remembering.recall("Trees?")
    assert recalled.means == f"embeddings {EMBEDDING}, and shared words for 23 not embedded yet"
    assert left(remembering.store, remembering) == (23, 0)
    ollama.script.embedding_faults = {}
    await embedded(remembering)
    assert left(remembering.store, remembering) == (0, 0)


async def test_a_server_that_takes_one_text_at_a_time_embeds_all(
    remembering: Remembering, ollama: FakeOllama
) -> None:
    ollama.script.most_embedded_at_once = 1
    await embedded(remembering)
    assert left(remembering.store, remembering) == (0, 0)
