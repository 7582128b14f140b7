"""Embeds what is remembered, with the model of the model server that [models] embedding names."""

import asyncio
import math
from collections.abc import Sequence
from itertools import combinations
from operator import mul
from statistics import mean
from types import TracebackType
from typing import Self

import httpx

from activities.memory.store import MemoryStore, Vector
from activities.model_server import AddressBroken, ResponseError, model_client
from messages.common import excerpt

EMBED_SECONDS = 20.0
"""For one request, and for all that a recall embeds anew: many times what a model for embeddings takes."""
MOST_EMBEDDED = 64
"""The memories that one recall embeds anew; those beyond are found by shared words until their turn comes."""
AT_ONCE = 8
"""Texts in one request, each some hundred tokens; what is embedded is kept request by request."""

# How alike unrelated texts are differs from model to model, by as much as 0.6. So each model is asked once.
UNRELATED = (
    "The ferry leaves the harbour at noon.",
    "My grandmother baked bread on Sundays.",
    "Interest rates rose by half a percent.",
    "The goalkeeper stopped the last penalty.",
    "Moss grows on the north side of the oak.",
    "The violin needs a new string.",
    "Rust protects memory without a collector.",
    "The court adjourned until Thursday.",
)


class NoEmbeddings(Exception):
    """There are no embeddings to be had; the message says why, in a few words."""


class Embedder:
    """One embedding model of the server at `host`. All of it raises NoEmbeddings."""

    def __init__(self, host: str, model: str) -> None:
        self._model = model
        self._host = host
        try:
            self._client = model_client(host, EMBED_SECONDS)
        except AddressBroken as error:
            raise NoEmbeddings(str(error)) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]  # The client's method has no types.

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector for each text, all of one dimension."""
        try:
            vectors = (await self._client.embed(self._model, list(texts))).embeddings
        except ResponseError as error:
            if error.status_code == 404:
                raise NoEmbeddings(f"no embedding model {self._model}") from None
            raise NoEmbeddings(f"{self._model} does not embed: {excerpt(str(error.error))}") from None
        except httpx.TimeoutException:
            raise NoEmbeddings(f"{self._model} was too slow") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TypeError) as error:
            reason = excerpt(str(error) or repr(error))
            raise NoEmbeddings(f"{self._model} at {self._host} cannot be asked: {reason}") from None
        sizes = {len(vector) for vector in vectors}
        usable = all(any(vector) and all(map(math.isfinite, vector)) for vector in vectors)
        if len(vectors) != len(texts) or len(sizes) != 1 or not usable:
            raise NoEmbeddings(f"{self._model} gave vectors of no use")
        return list(vectors)

    async def measure(self, store: MemoryStore, dimension: int) -> None:
        """Make sure that the store knows how alike unrelated texts look to this model."""
        if await asyncio.to_thread(store.unrelated, self._model, dimension) is None:
            likeness = likeness_of(await self.embed(UNRELATED))
            await asyncio.to_thread(store.set_unrelated, self._model, dimension, likeness)

    async def embed_missing(self, store: MemoryStore, image_id: str, dimension: int) -> None:
        """Embed what has no vector of this dimension yet, the newest first, and not too many at once."""
        missing = await asyncio.to_thread(store.without_vector, image_id, self._model, dimension)
        numbers = list(missing)[:MOST_EMBEDDED]
        for start in range(0, len(numbers), AT_ONCE):
            batch = numbers[start : start + AT_ONCE]
            vectors = await self.embed([missing[number] for number in batch])
            await asyncio.to_thread(store.set_vectors, self._model, dict(zip(batch, vectors, strict=True)))


def likeness_of(vectors: Sequence[Vector]) -> float:
    """The mean cosine similarity of vectors, and never so near to 1 that nothing could be told apart."""

    def cosine(one: Vector, other: Vector) -> float:
        return sum(map(mul, one, other), 0.0) / (math.hypot(*one) * math.hypot(*other))

    return min(0.99, max(0.0, mean(cosine(one, other) for one, other in combinations(vectors, 2))))
