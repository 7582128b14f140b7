"""The memories of one machine: one SQLite file, with FTS5 for shared words and sqlite-vec for embeddings.

A projection: all of it comes back from histories and snapshots. So a file that is broken, or of another
version, is deleted and begun anew. Several threads and processes may share it, see file.py.
"""

import asyncio
import copy
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, Self, TypeVar

import apsw
from pydantic import AwareDatetime, BaseModel, ConfigDict

from activities.memory.file import HURRY_SECONDS, MemoryFile, Work
from activities.memory.schema import SCHEMA, SIGNS, UPGRADES, VERSION, count
from activities.memory.words import sharing_words

SYNTHESIS_BYTES = 16_384
"""The longest synthesis that is kept: as long as an answer may be, see activities/model_server/asking.py."""
NEAR = 200
"""Where there are more vectors, the nearest of so many by their signs: no other is compared in full."""
PATIENCE_SECONDS = 5.0
"""How long one waits for another program that writes; `memory rebuild` writes often, but never for long."""
PAGE = 100
"""Entries that are read, written or forgotten in one go, so that nobody waits long for the file."""
THREADS = 4

_FORGET_VECTOR = "DELETE FROM vectors WHERE memory = ? AND model = ?"
# What has no vector of a model and a dimension, and might get one.
_WITHOUT_VECTOR = """
    FROM memories WHERE image_id = ?
    AND NOT EXISTS (SELECT 1 FROM vectors WHERE memory = id AND model = ? AND dimension = ?)
    AND NOT EXISTS (SELECT 1 FROM refused WHERE memory = id AND model = ?)
"""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Vector = Sequence[float]


class Entry(BaseModel):
    """One memory as it travels in and out of the store, as a plain dict."""

    model_config = ConfigDict(extra="forbid")

    image_id: str
    task_id: str
    task: str
    synthesis: str
    finished_at: AwareDatetime


class Found(NamedTuple):
    """A memory that bears on a text. `score`: 0 to 1, see the method that found it."""

    task_id: str
    task: str
    synthesis: str
    score: float


class MemoryStore:
    """The store in the file at `path`. Its methods block and raise apsw.Error or OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = MemoryFile(path, SCHEMA, VERSION, UPGRADES)
        self._patience_seconds = PATIENCE_SECONDS
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="memory")

    def in_a_hurry(self) -> Self:
        """The same store, for somebody who waits less long while another process writes."""
        other = copy.copy(self)
        other._patience_seconds = HURRY_SECONDS
        return other

    async def in_thread(
        self,
        method: Callable[Parameters, Result],
        *arguments: Parameters.args,
        **named: Parameters.kwargs,
    ) -> Result:
        """Call what blocks in one of the store's own threads: it takes none from anybody else."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, partial(method, *arguments, **named)
        )

    def close(self) -> None:
        """Close the file. A store that is used again opens it again."""
        self._file.close()

    def _read(self, work: Work[Result]) -> Result:
        return self._file.read(work, self._patience_seconds)

    def _rows(self, query: str, values: Sequence[Any] | dict[str, Any]) -> list[Any]:
        return self._read(lambda db: db.execute(query, values).fetchall())

    def _write(self, work: Work[Result]) -> Result:
        return self._file.write(work, self._patience_seconds)

    def add(self, entries: Iterable[dict[str, Any]]) -> int:
        """Keep entries, the later of two for a task; how many were new. Raises pydantic.ValidationError."""
        kept = [Entry.model_validate(entry) for entry in entries]
        new = 0
        for start in range(0, len(kept), PAGE):
            page = kept[start : start + PAGE]
            new += self._write(lambda db, page=page: sum(_add(db, entry) for entry in page))  # type: ignore[misc]
        return new

    def entries(self, image_id: str) -> Iterator[dict[str, Any]]:
        """Every entry of an image as a plain dict of texts; `finished_at` in ISO format, UTC."""
        last = 0
        columns = ("image_id", "task_id", "task", "synthesis", "finished_at")
        # The `+` lets SQLite walk in the order of ids; by the index of images it would sort for each page.
        query = (
            f"SELECT id, {', '.join(columns)} FROM memories WHERE +image_id = ? AND id > ? "
            f"ORDER BY id LIMIT {PAGE}"
        )
        while rows := self._rows(query, (image_id, last)):
            last = rows[-1][0]
            yield from (dict(zip(columns, values, strict=True)) for _, *values in rows)

    def forget(self, image_id: str) -> None:
        """Empty the store of one image."""
        some = f"SELECT id FROM memories WHERE image_id = ? LIMIT {PAGE}"

        def work(db: apsw.Connection) -> int:
            db.execute("DELETE FROM looked WHERE image_id = ?", (image_id,))
            db.execute(f"DELETE FROM memories WHERE id IN ({some})", (image_id,))
            return db.changes()

        while self._write(work):
            pass

    def task_ids(self, image_id: str) -> dict[str, str]:
        """When each remembered task of an image finished, by its id."""
        return dict(self._rows("SELECT task_id, finished_at FROM memories WHERE image_id = ?", (image_id,)))

    def held(self, image_id: str, task_ids: Iterable[str]) -> dict[str, str]:
        """When each of these tasks finished, as far as they are remembered."""
        query = """
            SELECT task_id, finished_at FROM json_each(?) JOIN memories ON task_id = value WHERE image_id = ?
        """
        return dict(self._rows(query, (json.dumps(list(task_ids)), image_id)))

    # --- how far histories were read ---

    def looked_until(self, source: str, image_id: str) -> str:
        """The moment until which a server was searched for tasks of an image, or nothing."""
        query = "SELECT until FROM looked WHERE source = ? AND image_id = ?"
        return self._read(lambda db: db.execute(query, (source, image_id)).get) or ""

    def set_looked_until(self, source: str, image_id: str, until: str) -> None:
        row = (source, image_id, until)
        self._write(lambda db: db.execute("REPLACE INTO looked VALUES (?, ?, ?)", row).get)

    # --- by shared words ---

    def by_words(
        self,
        image_id: str,
        text: str,
        *,
        besides: str,
        least: float,
        most: int,
        unless: tuple[str, int] = ("", 0),
    ) -> list[Found]:
        """The memories that share words with a text, best first.

        score: the part of the text's words that a memory has, rare words counting more (by Lucene's inverse
        document frequency). `unless`: pass over what has a vector of this model and dimension.
        """
        shared = self._read(lambda db: sharing_words(db, image_id, text, besides, unless))
        found = sorted((Found(*row) for row in shared), key=lambda memory: -memory.score)
        return [memory for memory in found if memory.score >= least][:most]

    # --- by embeddings ---

    def by_vector(
        self, image_id: str, model: str, vector: Vector, *, besides: str, least: float, most: int
    ) -> list[Found]:
        """The memories whose vectors of `model` are like this one, best first.

        score: cosine similarity, stretched so that 0 is the likeness of unrelated texts.
        """
        zero = self.unrelated(model, len(vector)) or 0.0
        # Signs are read in an index, in a tenth of the time that whole vectors take.
        nearest = "vec_distance_hamming(vec_bit(signs), vec_quantize_binary(:vector))"
        near = f"""
            SELECT memory FROM vectors
            WHERE image_id = :image_id AND model = :model AND dimension = :dimension
            {f"ORDER BY {nearest} LIMIT {NEAR}" if len(vector) % 8 == 0 else ""}
        """
        query = f"""
            WITH near AS MATERIALIZED ({near}), likest AS (
                SELECT memory, (1 - vec_distance_cosine(vector, :vector) - :zero) / (1 - :zero) AS score
                FROM near JOIN vectors USING (memory) WHERE model = :model
                AND memory IS NOT (SELECT id FROM memories WHERE image_id = :image_id AND task_id = :besides)
                ORDER BY score DESC LIMIT :most
            )
            SELECT task_id, task, synthesis, score FROM likest JOIN memories ON memory = id
            ORDER BY score DESC
        """
        named = {
            "vector": array("f", vector).tobytes(),
            "zero": zero,
            "image_id": image_id,
            "model": model,
            "dimension": len(vector),
            "besides": besides,
            "most": most,
        }
        return [Found(*row) for row in self._rows(query, named) if row[3] is not None and row[3] >= least]

    def without_vector(
        self, image_id: str, model: str, dimension: int, most: int | None = None
    ) -> dict[int, str]:
        """The texts, by number and newest first, that this model has neither embedded yet nor refused."""
        query = f"""
            SELECT id, task || char(10) || synthesis {_WITHOUT_VECTOR} ORDER BY finished_at DESC LIMIT ?
        """
        values = (image_id, model, dimension, model, -1 if most is None else most)
        return dict(self._rows(query, values))

    def count_without_vector(self, image_id: str, model: str, dimension: int) -> tuple[int, int]:
        """How many have no vector of this model and dimension yet, and how many the model refused."""
        memories, embedded, refused = self._read(lambda db: count(db, image_id, model, dimension))
        # What has a vector of another dimension has none of this one.
        return memories - embedded - refused, refused

    def set_vectors(self, model: str, vectors: dict[int, Vector]) -> None:
        """Keep vectors by the number of their memory; one that was forgotten meanwhile is passed over."""
        rows = [
            (model, len(vector), array("f", vector).tobytes(), number) for number, vector in vectors.items()
        ]
        signs = SIGNS.format(vector="?3")
        query = f"""
            INSERT INTO vectors (memory, image_id, model, dimension, vector, signs)
            SELECT id, image_id, ?1, ?2, ?3, {signs} FROM memories WHERE id = ?4
        """

        def work(db: apsw.Connection) -> None:
            db.executemany(_FORGET_VECTOR, [(number, model) for number in vectors])
            db.executemany(query, rows)

        self._write(work)

    def set_refused(self, model: str, number: int) -> None:
        """Remember that a model does not embed a memory, so that it is not asked to again."""
        query = """
            INSERT OR IGNORE INTO refused (memory, image_id, model)
            SELECT id, image_id, ? FROM memories WHERE id = ?
        """

        def work(db: apsw.Connection) -> None:
            db.execute(_FORGET_VECTOR, (number, model))
            db.execute(query, (model, number))

        self._write(work)

    def unrelated(self, model: str, dimension: int) -> float | None:
        """How alike unrelated texts look to a model, if that was measured."""
        query = "SELECT likeness FROM unrelated WHERE model = ? AND dimension = ?"
        value: float | None = self._read(lambda db: db.execute(query, (model, dimension)).get)
        return value

    def set_unrelated(self, model: str, dimension: int, likeness: float) -> None:
        row = (model, dimension, likeness)
        self._write(lambda db: db.execute("REPLACE INTO unrelated VALUES (?, ?, ?)", row).get)


def _add(db: apsw.Connection, entry: Entry) -> bool:
    name = (entry.image_id, entry.task_id)
    finished_at = entry.finished_at.astimezone(UTC).isoformat(timespec="microseconds")
    held = db.execute("SELECT finished_at FROM memories WHERE image_id = ? AND task_id = ?", name).get
    if held is not None and held >= finished_at:
        return False
    db.execute("DELETE FROM memories WHERE image_id = ? AND task_id = ?", name)
    synthesis = entry.synthesis.encode()[:SYNTHESIS_BYTES].decode(errors="ignore")
    db.execute(
        "INSERT INTO memories (image_id, task_id, task, synthesis, finished_at) VALUES (?, ?, ?, ?, ?)",
        (*name, entry.task, synthesis, finished_at),
    )
    return True


def entries_of(path: Path, image_id: str) -> list[dict[str, Any]]:
    """What a store holds of an image, for another process."""
    return list(MemoryStore(path).entries(image_id))
