"""The store of memories: idempotent, shared by processes, begun anew when it is broken, deaf to operators."""

import contextlib
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from activities.memory.store import SYNTHESIS_BYTES, Found, MemoryStore
from testbed.processes import ROOT
from tests.activities.entries import entry


def by_words(store: MemoryStore, text: str, least: float = 0.0, most: int = 10) -> list[Found]:
    return store.by_words("image", text, besides="", least=least, most=most)


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return MemoryStore(tmp_path / "state" / "memory.db")


def test_entries_come_out_as_they_went_in_once_each(store: MemoryStore) -> None:
    entries = [entry(f"task-{number}") for number in range(250)]
    assert store.add(entries) == 250
    assert store.add(entries) == 0
    assert list(store.entries("image")) == entries
    assert len(by_words(store, "trees", most=1000)) == 50


def test_of_two_entries_for_one_task_the_later_stays_in_whatever_order(tmp_path: Path) -> None:
    old, new = entry(), entry(task="Which trees?", finished_at="2026-02-01T13:00:00+01:00")
    kept = []
    for number, order in enumerate([[old, new], [new, old]]):
        store = MemoryStore(tmp_path / f"{number}.db")
        store.add(order[:1])
        store.add(order[1:])
        kept.append(list(store.entries("image")))
        assert by_words(store, "shade roofs") == []
    assert kept[0] == kept[1]
    assert [each["task"] for each in kept[0]] == ["Which trees?"]


def test_a_synthesis_is_cut_at_its_bound_between_characters(store: MemoryStore) -> None:
    store.add([entry(synthesis="é" * SYNTHESIS_BYTES)])
    (kept,) = store.entries("image")
    assert kept["synthesis"] == "é" * (SYNTHESIS_BYTES // 2)


@pytest.mark.parametrize("wrong", [{"finished_at": "yesterday"}, {"finished_at": "2026-01-01"}, {"more": 1}])
def test_what_is_no_entry_is_refused_and_nothing_of_its_batch_is_kept(
    store: MemoryStore, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        store.add([entry(), entry("other", **wrong)])
    assert list(store.entries("image")) == []


def test_images_do_not_see_each_others_memories_and_forget_alone(store: MemoryStore) -> None:
    store.add([entry(), entry(image_id="other")])
    store.set_vectors("m", {number: [1.0, 0.0] for number in store.without_vector("image", "m", 2)})
    store.forget("image")
    assert by_words(store, "trees") == []
    assert [each["image_id"] for each in store.entries("other")] == ["other"]
    assert store.without_vector("other", "m", 2)


# --- words ---


@pytest.mark.parametrize(
    "hostile",
    ['AND OR " ( *', '"', "NEAR(trees roofs)", "-trees", "task:trees", "^trees*", "", " ", "\0", "';--", "'"],
)
def test_no_text_is_an_operator(store: MemoryStore, hostile: str) -> None:
    store.add([entry()])
    found = by_words(store, hostile)
    assert bool(found) == ("trees" in hostile)


@given(text=st.text(max_size=200))
def test_any_text_can_be_kept_and_looked_for(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    store = MemoryStore(tmp_path_factory.getbasetemp() / "any.db")
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    store.add([entry(text, task=text)])
    assert text in store.task_ids("image")
    assert all(0 <= found.score <= 1 for found in by_words(store, text))


def test_rare_words_count_more_than_common_ones(store: MemoryStore) -> None:
    store.add([entry(f"{word}", task=f"Should the town buy a {word}?") for word in ("tram", "bus", "boat")])
    best, *rest = by_words(store, "Should the town mend its boat?")
    assert best.task_id == "boat"
    assert best.score > max(found.score for found in rest)


def test_a_word_in_another_form_is_the_same_word(store: MemoryStore) -> None:
    store.add([entry()])
    assert by_words(store, "Planting a tree")[0].score == 1.0


# --- vectors ---


def like(store: MemoryStore, vector: list[float], model: str = "m", besides: str = "") -> list[str]:
    found = store.by_vector("image", model, vector, besides=besides, least=0.25, most=10)
    return [memory.task_id for memory in found]


def embed(store: MemoryStore, model: str, vectors: dict[str, list[float]]) -> None:
    store.add([entry(task_id, task=task_id) for task_id in vectors])
    numbers = store.without_vector("image", model, 2)
    by_task = {text.split("\n")[0]: number for number, text in numbers.items()}
    store.set_vectors(model, {by_task[task_id]: vector for task_id, vector in vectors.items()})


def test_of_many_the_likest_are_those_of_a_comparison_with_each(store: MemoryStore) -> None:
    """More than are compared in full, in heaps as the vectors of texts are."""
    numbers = np.random.default_rng(0)
    heaps = numbers.normal(size=(20, 64))
    vectors = heaps[np.arange(1_000) % 20] + 0.3 * numbers.normal(size=(1_000, 64)) + 0.5
    store.add([entry(f"{number}") for number in range(1_000)])
    store.set_vectors("m", {number + 1: vector.tolist() for number, vector in enumerate(vectors)})
    for asked in vectors[:10] + 0.1:
        likeness = vectors @ asked / np.linalg.norm(vectors, axis=1)
        found = store.by_vector("image", "m", asked.tolist(), besides="", least=-1, most=3)
        assert [int(memory.task_id) for memory in found] == np.argsort(-likeness)[:3].tolist()


def test_a_word_that_nearly_all_have_finds_nothing_by_itself_but_counts(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.memory.words.COMMON", 5)
    towns = [entry(f"{number}", task="Should the town?", synthesis="No.") for number in range(20)]
    store.add([*towns, entry("boat", task="Which boat?"), entry("both", task="A boat for the town?")])
    assert [found.task_id for found in by_words(store, "the town boat")] == ["both", "boat"]
    assert by_words(store, "Should the town?")


def test_the_likest_comes_first_and_what_is_unrelated_stays_out(store: MemoryStore) -> None:
    embed(store, "m", {"same": [1.0, 0.0], "near": [1.0, 0.5], "far": [0.0, 1.0]})
    assert like(store, [2.0, 0.0]) == ["same", "near"]
    assert like(store, [2.0, 0.0], besides="same") == ["near"]


def test_what_counts_as_unrelated_is_measured_for_each_model(store: MemoryStore) -> None:
    embed(store, "m", {"same": [1.0, 0.0], "near": [1.0, 0.5]})
    store.set_unrelated("m", 2, 0.88)
    assert like(store, [1.0, 0.0]) == ["same"]


def test_another_model_or_dimension_needs_other_vectors(store: MemoryStore) -> None:
    embed(store, "m", {"same": [1.0, 0.0]})
    assert (like(store, [1.0, 0.0], model="n"), like(store, [1.0, 0.0, 0.0])) == ([], [])
    assert len(store.without_vector("image", "n", 2)) == len(store.without_vector("image", "m", 3)) == 1
    assert not store.without_vector("image", "m", 2)


def test_a_task_that_is_remembered_anew_is_embedded_anew(store: MemoryStore) -> None:
    embed(store, "m", {"same": [1.0, 0.0]})
    store.add([entry("same", finished_at="2026-03-01T12:00:00Z")])
    assert len(store.without_vector("image", "m", 2)) == 1


# --- the file ---


def test_a_deleted_file_is_made_anew_under_a_store_in_use(store: MemoryStore) -> None:
    store.add([entry()])
    for file in store.path.parent.iterdir():
        file.unlink()
    assert list(store.entries("image")) == []
    assert store.add([entry()]) == 1


def test_a_broken_file_is_begun_anew(store: MemoryStore) -> None:
    store.add([entry()])
    store.close()
    store.path.write_bytes(b"this is no database" * 1000)
    assert store.task_ids("image") == {}
    assert store.add([entry()]) == 1


def test_a_file_with_a_broken_page_is_begun_anew(store: MemoryStore) -> None:
    store.add([entry(f"task-{number}") for number in range(100)])
    store.close()
    data = bytearray(store.path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    store.path.write_bytes(data)
    store.add([entry("new")])
    assert "new" in store.task_ids("image")


@pytest.mark.parametrize("statement", ["PRAGMA user_version = 99", "CREATE TABLE others (what)"])
def test_a_file_of_another_version_is_begun_anew(store: MemoryStore, statement: str) -> None:
    store.path.parent.mkdir()
    other = apsw.Connection(str(store.path))
    other.execute(statement)
    other.close()
    assert store.add([entry()]) == 1


BEFORE = {
    3: """
        DROP TABLE counts; DROP INDEX of_image; CREATE INDEX not_embedded ON refused (image_id, model);
        DROP TRIGGER more_memories; DROP TRIGGER more_vectors; DROP TRIGGER more_refused;
        DROP TRIGGER less_memories; DROP TRIGGER less_vectors; DROP TRIGGER less_refused;
    """,
    2: """
        DROP INDEX embedded; ALTER TABLE vectors DROP COLUMN signs;
        CREATE INDEX embedded ON vectors (image_id, model, dimension, memory);
    """,
}


@pytest.mark.parametrize("version", sorted(BEFORE))
def test_a_file_of_a_version_before_goes_on(
    version: int, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    embed(store, "m", {"near": [1.0, 0.0], "far": [0.0, 1.0]})
    wide = {"near": [1.0, -1.0] * 4, "far": [-1.0, 1.0] * 4}
    numbers = {text.split("\n")[0]: number for number, text in store.without_vector("image", "w", 8).items()}
    store.set_vectors("w", {numbers[task_id]: vector for task_id, vector in wide.items()})
    store.close()
    with contextlib.closing(apsw.Connection(str(store.path))) as before:
        for changed in range(3, version - 1, -1):
            before.execute(BEFORE[changed])
        before.execute(f"PRAGMA user_version = {version}")
    again = MemoryStore(store.path)
    assert like(again, [1.0, 0.1]) == ["near"]
    assert like(again, wide["near"], "w") == ["near"]
    assert again.count_without_vector("image", "w", 8) == (0, 0)
    assert again.add([entry("new")]) == 1
    assert again.count_without_vector("image", "w", 8) == (1, 0)
    assert not caplog.records


def test_what_is_kept_as_a_count_is_the_count(store: MemoryStore) -> None:
    chance, numbers = random.Random(1), range(12)
    for _ in range(300):
        image, number = chance.choice(("image", "other")), chance.choice(numbers)
        match chance.randrange(5):
            case 0 | 1:
                finished_at = f"2026-01-{1 + chance.randrange(28):02}T12:00:00Z"
                store.add([entry(f"{number}", image_id=image, finished_at=finished_at)])
            case 2:
                dimension = chance.choice((2, 3))
                store.set_vectors("m", {number: [1.0] * dimension, chance.choice(numbers): [0.5] * dimension})
            case 3:
                store.set_refused("m", number)
            case 4 if chance.random() < 0.2:
                store.forget(image)
        with contextlib.closing(apsw.Connection(str(store.path))) as db:
            kept = set(db.execute("SELECT * FROM counts WHERE n != 0"))
            true = "SELECT image_id, '{0}', {1}, {2}, count(*) FROM {0} GROUP BY 1, 3, 4"
            tables = [("memories", "''", "0"), ("vectors", "model", "dimension"), ("refused", "model", "0")]
            assert kept == {row for table in tables for row in db.execute(true.format(*table))}


def test_a_place_where_no_file_can_be_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="file"):
        MemoryStore(tmp_path / "file" / "memory.db").add([entry()])
    with pytest.raises(apsw.Error):
        MemoryStore(tmp_path / "folder").add([entry()])


WRITER = """
import sys
from pathlib import Path
from activities.memory import store as stores
stores.PATIENCE_SECONDS = 60  # who waits and when is up to a busy machine
store = stores.MemoryStore(Path(sys.argv[1]))
for number in range(60):
    own = {"image_id": "image", "task": "trees", "synthesis": "yes", "finished_at": "2026-01-01T12:00:00Z"}
    store.add([own | {"task_id": f"{sys.argv[2]}-{number}"}, own | {"task_id": f"both-{number}"}])
    store.by_words("image", "trees", besides="", least=0, most=5)
"""


def test_processes_write_at_once_from_the_first_moment_and_lose_nothing(store: MemoryStore) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(store.path), name], cwd=ROOT) for name in "abc"
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    wanted = {f"{name}-{number}" for name in ("a", "b", "c", "both") for number in range(60)}
    assert set(store.task_ids("image")) == wanted
    assert len(list(store.entries("image"))) == len(wanted)
