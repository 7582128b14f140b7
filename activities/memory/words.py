"""Memories by the words that they share with a text."""

import math
import re
from collections.abc import Iterable
from itertools import islice
from typing import cast

import apsw

from activities.memory.schema import TOKENIZER, count

MOST_WORDS = 64
"""Of one question: a task is a sentence or two, and each word is one look into the index."""
FEW = 10
"""Memories without any of the words, counted in: few memories alone say little about which words are rare."""
CANDIDATES = 50
"""The best by BM25 that are looked at closely."""
COMMON = 2_000
"""Memories: a word in so many, or in more, finds none by itself where another word is rarer."""

_WORD = re.compile(r"[^\W_]{3,}")
# `CROSS JOIN` and the index keep SQLite from walking through all memories of the image for each word, and
# from reading whole memories only to see whose they are.
_HOW_MANY = f"""
    SELECT count(*) FROM (
        SELECT 1 FROM words CROSS JOIN memories INDEXED BY of_image ON memories.id = words.rowid
        WHERE words MATCH ? AND image_id = ? LIMIT {COMMON}
    )
"""
_LIKELIEST = f"""
    SELECT task_id, memories.task, memories.synthesis
    FROM words JOIN memories ON memories.id = words.rowid
    WHERE words MATCH ? AND +image_id = ? AND task_id != ?
    AND NOT EXISTS (SELECT 1 FROM vectors WHERE memory = memories.id AND model = ? AND dimension = ?)
    ORDER BY bm25(words) LIMIT {CANDIDATES}
"""


def sharing_words(
    db: apsw.Connection, image_id: str, text: str, besides: str, unless: tuple[str, int]
) -> list[tuple[str, str, str, float]]:
    """Task id, task, synthesis and score of what shares words with a text, see `MemoryStore.by_words`."""
    words = list(islice(dict.fromkeys(_WORD.findall(text.casefold())), MOST_WORDS))
    if not words:
        return []
    # Quoted, so that no word of the text is an operator of FTS5.
    held = {word: db.execute(_HOW_MANY, (f'"{word}"', image_id)).get for word in words}
    total = count(db, image_id, *unless)[0] + FEW
    weights = {word: math.log(1 + (total - many + 0.5) / (many + 0.5)) for word, many in held.items()}
    rare = [word for word in words if held[word] < COMMON] or words[:1]
    any_of_them = " OR ".join(f'"{word}"' for word in rare)
    values = (any_of_them, image_id, besides, *unless)
    stems = _Stems(db)
    wanted = {word: stems.of(word) for word in words}
    found = []
    for task_id, task, synthesis in db.execute(_LIKELIEST, values):
        has = stems.of(f"{task}\n{synthesis}")
        shared = sum(weights[word] for word, parts in wanted.items() if parts and parts <= has)
        found.append((task_id, task, synthesis, shared / sum(weights.values())))
    return found


class _Stems:
    """What the index makes of a text. To ask the index about each memory and word takes longer."""

    def __init__(self, db: apsw.Connection) -> None:
        name, *arguments = TOKENIZER
        self._tokenizer = db.fts5_tokenizer(name, arguments)

    def of(self, text: str) -> set[str]:
        flags = {"include_offsets": False, "include_colocated": False}
        stems = self._tokenizer(text.encode(), apsw.FTS5_TOKENIZE_DOCUMENT, None, **flags)
        return set(cast("Iterable[str]", stems))
