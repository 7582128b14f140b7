"""The tables of the memory, and how a file of an earlier version goes on."""

import apsw

VERSION = 4
"""Of the schema. A file of another version is begun anew, unless `UPGRADES` says how to go on with it."""

TOKENIZER = ("porter", "unicode61", "remove_diacritics", "2")
"""What makes words of a text: its name and arguments."""

SIGNS = "iif(length({vector}) % 32 = 0, vec_quantize_binary({vector}), NULL)"
"""A bit for each figure of a vector; it takes a whole number of bytes."""

_COUNT = """
    SELECT coalesce(sum(n) FILTER (WHERE what = 'memories'), 0),
        coalesce(sum(n) FILTER (WHERE what = 'vectors' AND model = :model AND dimension = :dimension), 0),
        coalesce(sum(n) FILTER (WHERE what = 'refused' AND model = :model), 0)
    FROM counts WHERE image_id = :image_id
"""


def count(db: apsw.Connection, image_id: str, model: str, dimension: int) -> tuple[int, int, int]:
    """How many memories an image has, how many vectors of a model, and how many that it refused."""
    named = {"image_id": image_id, "model": model, "dimension": dimension}
    memories, vectors, refused = next(db.execute(_COUNT, named))
    return memories, vectors, refused


def _kept_count(what: str, model: str = "''", dimension: str = "0") -> str:
    """A table's rows, counted now and by triggers from then on: to count 100,000 takes a recall 20 ms."""

    def of(row: str) -> str:
        return ", ".join(f"{row}{column}" if column in named else column for column in columns)

    named, columns = {"image_id", "model", "dimension"}, ("image_id", f"'{what}'", model, dimension)
    key = "(image_id, what, model, dimension)"
    more = f"INSERT INTO counts VALUES ({of('new.')}, 1) ON CONFLICT DO UPDATE SET n = n + 1"
    less = f"UPDATE counts SET n = n - 1 WHERE {key} = ({of('old.')})"
    return f"""
    INSERT INTO counts SELECT {of("")}, count(*) FROM {what} WHERE true GROUP BY 1, 2, 3, 4;
    CREATE TRIGGER more_{what} AFTER INSERT ON {what} BEGIN {more}; END;
    CREATE TRIGGER less_{what} AFTER DELETE ON {what} BEGIN {less}; END;
    """


# They do not hear of a row that is replaced: whoever writes one deletes the one before.
_COUNTS = f"""
CREATE INDEX of_image ON memories (image_id);
CREATE TABLE counts (
    image_id TEXT, what TEXT, model TEXT, dimension INTEGER, n INTEGER,
    PRIMARY KEY (image_id, what, model, dimension)
) WITHOUT ROWID;
{_kept_count("memories")}
{_kept_count("vectors", "model", "dimension")}
{_kept_count("refused", "model")}
"""

SCHEMA = f"""
CREATE TABLE memories (
    id INTEGER PRIMARY KEY, image_id TEXT, task_id TEXT, task TEXT, synthesis TEXT, finished_at TEXT,
    UNIQUE (image_id, task_id)
);
CREATE VIRTUAL TABLE words USING fts5 (
    task, synthesis, content=memories, content_rowid=id, tokenize='{" ".join(TOKENIZER)}'
);
CREATE TABLE vectors (
    memory INTEGER, model TEXT, image_id TEXT, dimension INTEGER, vector BLOB, signs BLOB,
    PRIMARY KEY (memory, model)
);
CREATE INDEX embedded ON vectors (image_id, model, dimension, signs, memory);
CREATE TABLE refused (memory INTEGER, model TEXT, image_id TEXT, PRIMARY KEY (memory, model));
CREATE TABLE unrelated (model TEXT, dimension INTEGER, likeness REAL, PRIMARY KEY (model, dimension));
CREATE TABLE looked (source TEXT, image_id TEXT, until TEXT, PRIMARY KEY (source, image_id));
CREATE TRIGGER remember AFTER INSERT ON memories BEGIN
    INSERT INTO words (rowid, task, synthesis) VALUES (new.id, new.task, new.synthesis);
END;
CREATE TRIGGER forget AFTER DELETE ON memories BEGIN
    INSERT INTO words (words, rowid, task, synthesis) VALUES ('delete', old.id, old.task, old.synthesis);
    DELETE FROM vectors WHERE memory = old.id;
    DELETE FROM refused WHERE memory = old.id;
END;
{_COUNTS}
"""

_SIGNS_ADDED = f"""
ALTER TABLE vectors ADD COLUMN signs BLOB;
UPDATE vectors SET signs = {SIGNS.format(vector="vector")};
DROP INDEX embedded;
CREATE INDEX embedded ON vectors (image_id, model, dimension, signs, memory);
"""
_COUNTS_ADDED = f"DROP INDEX not_embedded; {_COUNTS}"

UPGRADES = {2: _SIGNS_ADDED + _COUNTS_ADDED, 3: _COUNTS_ADDED}
