"""The memories of one machine: one SQLite file, with FTS5 for shared words and sqlite-vec for embeddings.

A projection: all of it comes back from histories and snapshots. So a file that is broken, or of another
version, is deleted and begun anew. Every method opens the file for itself; several processes may share it.
"""

import contextlib
import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import apsw
import sqlite_vec  # type: ignore[import-untyped]
from pydantic import AwareDatetime, BaseModel, ConfigDict

log = logging.getLogger(__name__)

SYNTHESIS_BYTES = 16_384
"""The longest synthesis that is kept: as long as an answer may be, see activities/asking.py."""
VERSION = 1
"""Of the schema. A file of another version is begun anew."""
BUSY_MILLISECONDS = 5_000
"""How long a process waits for another that writes: a write takes milliseconds."""
MOST_WORDS = 64
"""Of one question: a task is a sentence or two, and each word is one look into the index."""
FEW = 10
"""Memories without any of the words, counted in: few memories alone say little about which words are rare."""
CANDIDATES = 50
"""The best by BM25 that are looked at closely."""
PAGE = 100

_WORD = re.compile(r"[^\W_]{3,}")
_SCHEMA = """
CREATE TABLE memories (
    id INTEGER PRIMARY KEY, image_id TEXT, task_id TEXT, task TEXT, synthesis TEXT, finished_at TEXT,
    UNIQUE (image_id, task_id)
);
CREATE VIRTUAL TABLE words USING fts5 (
    task, synthesis, content=memories, content_rowid=id, tokenize='porter unicode61 remove_diacritics 2'
);
CREATE TABLE vectors (memory INTEGER, model TEXT, vector BLOB, PRIMARY KEY (memory, model));
CREATE TABLE unrelated (model TEXT, dimension INTEGER, likeness REAL, PRIMARY KEY (model, dimension));
CREATE TABLE looked (source TEXT, image_id TEXT, until TEXT, PRIMARY KEY (source, image_id));
CREATE TRIGGER remember AFTER INSERT ON memories BEGIN
    INSERT INTO words (rowid, task, synthesis) VALUES (new.id, new.task, new.synthesis);
END;
CREATE TRIGGER forget AFTER DELETE ON memories BEGIN
    INSERT INTO words (words, rowid, task, synthesis) VALUES ('delete', old.id, old.task, old.synthesis);
    DELETE FROM vectors WHERE memory = old.id;
END;
"""

Result = TypeVar("Result")
Vector = Sequence[float]


class _Broken(Exception):
    """The file is not a store of this version."""


_BROKEN = (_Broken, apsw.NotADBError, apsw.CorruptError, apsw.FormatError)


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

    def add(self, entries: Iterable[dict[str, Any]]) -> int:
        """Keep entries, and return how many were new. Of two for the same task the later one stays.

        Raises pydantic.ValidationError for a dict that is no Entry.
        """
        kept = [Entry.model_validate(entry) for entry in entries]
        return self._do(lambda db: sum(_add(db, entry) for entry in kept))

    def entries(self, image_id: str) -> Iterator[dict[str, Any]]:
        """Every entry of an image as a plain dict of texts; `finished_at` in ISO format, UTC."""
        last = 0
        columns = ("image_id", "task_id", "task", "synthesis", "finished_at")
        # The `+` lets SQLite walk in the order of ids; by the index of images it would sort for each page.
        query = (
            f"SELECT id, {', '.join(columns)} FROM memories WHERE +image_id = ? AND id > ? "
            f"ORDER BY id LIMIT {PAGE}"
        )
        while rows := self._do(lambda db, last=last: db.execute(query, (image_id, last)).fetchall()):  # type: ignore[misc]
            last = rows[-1][0]
            yield from (dict(zip(columns, values, strict=True)) for _, *values in rows)

    def forget(self, image_id: str) -> None:
        """Empty the store of one image."""

        def work(db: apsw.Connection) -> None:
            db.execute("DELETE FROM memories WHERE image_id = ?", (image_id,))
            db.execute("DELETE FROM looked WHERE image_id = ?", (image_id,))

        self._do(work)

    def task_ids(self, image_id: str) -> dict[str, str]:
        """When each remembered task of an image finished, by its id."""
        query = "SELECT task_id, finished_at FROM memories WHERE image_id = ?"
        rows: list[Any] = self._do(lambda db: db.execute(query, (image_id,)).fetchall())
        return dict(rows)

    # --- how far histories were read ---

    def looked_until(self, source: str, image_id: str) -> str:
        """The moment until which a server was searched for tasks of an image, or nothing."""
        query = "SELECT until FROM looked WHERE source = ? AND image_id = ?"
        return self._do(lambda db: db.execute(query, (source, image_id)).get) or ""

    def set_looked_until(self, source: str, image_id: str, until: str) -> None:
        self._do(lambda db: db.execute("REPLACE INTO looked VALUES (?, ?, ?)", (source, image_id, until)).get)

    # --- by shared words ---

    def by_words(
        self, image_id: str, text: str, *, besides: str, least: float, most: int, unless_embedded: str = ""
    ) -> list[Found]:
        """The memories that share words with a text, best first.

        score: the part of the text's words that a memory has, rare words counting more (by Lucene's inverse
        document frequency). `unless_embedded`: pass over what has a vector of this model.
        """
        found = self._do(lambda db: _by_words(db, image_id, text, besides, unless_embedded))
        return [memory for memory in found if memory.score >= least][:most]

    # --- by embeddings ---

    def by_vector(
        self, image_id: str, model: str, vector: Vector, *, besides: str, least: float, most: int
    ) -> list[Found]:
        """The memories whose vectors of `model` are like this one, best first.

        score: cosine similarity, stretched so that 0 is the likeness of unrelated texts and 1 the same text.
        """
        zero = self.unrelated(model, len(vector)) or 0.0
        query = """
            SELECT task_id, task, synthesis, (1 - vec_distance_cosine(vector, :vector) - :zero) / (1 - :zero)
            FROM memories JOIN vectors ON memory = id
            WHERE image_id = :image_id AND model = :model AND length(vector) = :bytes AND task_id != :besides
            ORDER BY 4 DESC LIMIT :most
        """
        packed = sqlite_vec.serialize_float32(list(vector))
        named = {
            "vector": packed,
            "zero": zero,
            "image_id": image_id,
            "model": model,
            "bytes": len(packed),
            "besides": besides,
            "most": most,
        }
        rows: list[Any] = self._do(lambda db: db.execute(query, named).fetchall())
        return [Found(*row) for row in rows if row[3] is not None and row[3] >= least]

    def without_vector(self, image_id: str, model: str, dimension: int) -> dict[int, str]:
        """The texts to embed that have no vector of this model and dimension yet, newest first, by number."""
        query = """
            SELECT id, task || char(10) || synthesis FROM memories WHERE image_id = ? AND NOT EXISTS
            (SELECT 1 FROM vectors WHERE memory = id AND model = ? AND length(vector) = 4 * ?)
            ORDER BY finished_at DESC
        """
        values = (image_id, model, dimension)
        rows: list[Any] = self._do(lambda db: db.execute(query, values).fetchall())
        return dict(rows)

    def set_vectors(self, model: str, vectors: dict[int, Vector]) -> None:
        """Keep vectors by the number of their memory; one that was forgotten meanwhile is passed over."""
        rows = [(sqlite_vec.serialize_float32(list(v)), model, number) for number, v in vectors.items()]
        query = "REPLACE INTO vectors (vector, model, memory) SELECT ?, ?, id FROM memories WHERE id = ?"
        self._do(lambda db: db.executemany(query, rows).get)

    def unrelated(self, model: str, dimension: int) -> float | None:
        """How alike unrelated texts look to a model, if that was measured."""
        query = "SELECT likeness FROM unrelated WHERE model = ? AND dimension = ?"
        value: float | None = self._do(lambda db: db.execute(query, (model, dimension)).get)
        return value

    def set_unrelated(self, model: str, dimension: int, likeness: float) -> None:
        row = (model, dimension, likeness)
        self._do(lambda db: db.execute("REPLACE INTO unrelated VALUES (?, ?, ?)", row).get)

    # --- the file ---

    def _do(self, work: Callable[[apsw.Connection], Result]) -> Result:
        """Work on the file in one transaction; a broken file is deleted first."""
        try:
            return self._attempt(work)
        except _BROKEN as error:
            log.warning("%s cannot be used (%s); the memory is begun anew.", self.path, error)
            for suffix in ("-wal", "-shm", ""):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            return self._attempt(work)

    def _attempt(self, work: Callable[[apsw.Connection], Result]) -> Result:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as db:
            return work(db)

    @contextlib.contextmanager
    def _open(self) -> Iterator[apsw.Connection]:
        with contextlib.closing(apsw.Connection(str(self.path))) as db:
            db.set_busy_timeout(BUSY_MILLISECONDS)
            db.enable_load_extension(True)
            db.load_extension(sqlite_vec.loadable_path())
            db.enable_load_extension(False)
            if db.pragma("user_version") != VERSION:
                _create(db)
            # Immediate: two processes that read first and write later would otherwise refuse each other.
            db.transaction_mode = "IMMEDIATE"
            with db:
                yield db


def _create(db: apsw.Connection) -> None:
    db.pragma("journal_mode", "wal")
    db.transaction_mode = "IMMEDIATE"
    with db:
        version = db.pragma("user_version")
        if version == VERSION:
            return  # another process was first
        if version or db.execute("SELECT count(*) FROM sqlite_master").get:
            raise _Broken(f"it is no memory of version {VERSION}")
        db.execute(_SCHEMA)
        db.pragma("user_version", VERSION)


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


def _by_words(
    db: apsw.Connection, image_id: str, text: str, besides: str, unless_embedded: str
) -> list[Found]:
    # Quoted, so that no word of the text is an operator of FTS5.
    words = [f'"{word}"' for word in islice(dict.fromkeys(_WORD.findall(text.casefold())), MOST_WORDS)]
    if not words:
        return []
    # The `+` keeps SQLite from walking through all memories of the image for each word.
    sharing = """
        SELECT memories.id FROM words JOIN memories ON memories.id = words.rowid
        WHERE words MATCH ? AND +image_id = ?
    """
    held = {word: {row[0] for row in db.execute(sharing, (word, image_id))} for word in words}
    total = db.execute("SELECT count(*) FROM memories WHERE image_id = ?", (image_id,)).get
    total += FEW
    weights = {
        word: math.log(1 + (total - len(rows) + 0.5) / (len(rows) + 0.5)) for word, rows in held.items()
    }
    query = """
        SELECT memories.id, task_id, memories.task, memories.synthesis
        FROM words JOIN memories ON memories.id = words.rowid
        WHERE words MATCH ? AND +image_id = ? AND task_id != ?
        AND NOT EXISTS (SELECT 1 FROM vectors WHERE memory = memories.id AND model = ?)
        ORDER BY bm25(words) LIMIT ?
    """
    values = (" OR ".join(words), image_id, besides, unless_embedded, CANDIDATES)
    found = []
    rows: list[tuple[Any, ...]] = db.execute(query, values).fetchall()
    for number, task_id, task, synthesis in rows:
        shared = sum(weight for word, weight in weights.items() if number in held[word])
        found.append(Found(task_id, task, synthesis, shared / sum(weights.values())))
    return sorted(found, key=lambda memory: -memory.score)


def entries_of(path: Path, image_id: str) -> list[dict[str, Any]]:
    """What a store holds of an image, for another process."""
    return list(MemoryStore(path).entries(image_id))
