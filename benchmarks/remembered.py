"""How long a recall looks through a large memory, beyond the embedding: python -m benchmarks.remembered.

The memories are made up: words by Zipf's law, and vectors in heaps of fifty, all leaning to one side as
those of embedding models do. What is found is held against a comparison with every vector, in the same file.
"""

import argparse
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import sqlite_vec  # type: ignore[import-untyped]
from rich import box
from rich.console import Console
from rich.table import Table

from activities.memory.store import PAGE, MemoryStore

IMAGE, MODEL, DIMENSION = "image", "model", 768
WORDS, IN_A_HEAP = 20_000, 50
ROUNDS, MOST = 15, 3
EXACT = """
    SELECT task_id FROM vectors JOIN memories ON memory = id
    WHERE vectors.image_id = ? AND model = ? ORDER BY vec_distance_cosine(vector, ?) LIMIT ?
"""


class MadeUp:
    """Memories of nobody, always the same."""

    def __init__(self, count: int) -> None:
        self._numbers = np.random.default_rng(0)
        self._chance = random.Random(0)
        self._heaps = self._numbers.normal(size=(count // IN_A_HEAP, DIMENSION))
        self._often = list(itertools.accumulate(1 / rank for rank in range(1, WORDS + 1)))

    def text(self, words: int) -> str:
        ranks = self._chance.choices(range(WORDS), cum_weights=self._often, k=words)
        return " ".join(f"word{rank:x}" for rank in ranks)

    def vector(self) -> list[float]:
        heap = self._heaps[self._numbers.integers(len(self._heaps))]
        vector = heap + 0.7 * self._numbers.normal(size=DIMENSION) + 0.8
        return [float(figure) for figure in vector / np.linalg.norm(vector)]

    def entries(self, first: int, count: int) -> Iterator[dict[str, Any]]:
        for number in range(first, first + count):
            finished_at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
            names = {"image_id": IMAGE, "task_id": f"t{number}", "finished_at": finished_at.isoformat()}
            yield {**names, "task": self.text(12), "synthesis": self.text(60)}


def fill(store: MemoryStore, made_up: MadeUp, count: int) -> None:
    for first in range(0, count, PAGE):
        store.add(made_up.entries(first, min(PAGE, count - first)))
        new = store.without_vector(IMAGE, MODEL, DIMENSION)
        store.set_vectors(MODEL, {number: made_up.vector() for number in new})
    store.set_unrelated(MODEL, DIMENSION, 0.3)


def milliseconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def row(store: MemoryStore, made_up: MadeUp, count: int) -> list[str]:
    asked = [made_up.vector() for _ in range(ROUNDS)]
    again = itertools.cycle(asked)

    def found(vector: list[float]) -> set[str]:
        near = store.by_vector(IMAGE, MODEL, vector, besides="", least=-1, most=MOST)
        return {memory.task_id for memory in near}

    def exact(vector: list[float]) -> set[str]:
        values = (IMAGE, MODEL, sqlite_vec.serialize_float32(vector), MOST)
        return {task_id for (task_id,) in store._rows(EXACT, values)}

    figures = (
        milliseconds(lambda: found(next(again))),
        milliseconds(lambda: store.count_without_vector(IMAGE, MODEL, DIMENSION)),
        milliseconds(lambda: exact(next(again))),
        milliseconds(lambda: store.by_words(IMAGE, made_up.text(12), besides="", least=0.2, most=MOST)),
    )
    alike = statistics.mean(len(found(vector) & exact(vector)) / MOST for vector in asked)
    megabytes = f"{store.path.stat().st_size / 2**20:,.0f} MB"
    return [f"{count:,}", *(f"{figure:.1f} ms" for figure in figures), f"{alike:.0%}", megabytes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--memories", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    counts = parser.parse_args().memories
    heads = ("memories", "by vector", "how many have none", "each vector compared", "by words")
    table = Table(*heads, f"the same {MOST}", "file", box=box.MARKDOWN)
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            store, made_up = MemoryStore(Path(folder) / "memory.db"), MadeUp(count)
            fill(store, made_up, count)
            table.add_row(*row(store, made_up, count))
            store.close()
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
