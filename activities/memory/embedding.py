"""Embeds what is remembered, with the model of the model server that [models] embedding names."""

import math
from array import array
from collections.abc import Sequence
from itertools import combinations
from operator import mul
from statistics import mean

import httpx

from activities.memory.store import MemoryStore, Vector
from activities.model_server.client import AddressBroken, ResponseError, model_client
from messages.common import excerpt

EMBED_SECONDS = 20.0
"""For one request: many times what a model for embeddings takes, even if it has to be loaded first."""
AT_ONCE = 8
"""Texts in one request, each some hundred tokens; what is embedded is kept request by request."""
SHORTENED = (4_000, 1_000, 250)
"""Characters of a text that was refused, tried one after the other: it may only have been too long."""

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


class Refused(NoEmbeddings):
    """There are none for these texts; for others there may be."""


class Embedder:
    """One embedding model of the server at `host`. All of it raises NoEmbeddings."""

    def __init__(self, host: str, model: str) -> None:
        self._model = model
        self._host = host
        try:
            self._client = model_client(host, EMBED_SECONDS)
        except AddressBroken as error:
            raise NoEmbeddings(str(error)) from None

    async def close(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]  # The client's method has no types.

    async def embed(self, texts: Sequence[str], dimension: int = 0) -> list[Vector]:
        """One vector for each text, all of one dimension: the given one, if one is given."""
        try:
            vectors = (await self._client.embed(self._model, list(texts))).embeddings
        except ResponseError as error:
            if error.status_code == 404:
                raise NoEmbeddings(f"no embedding model {self._model}") from None
            raise Refused(f"{self._model} does not embed: {excerpt(str(error.error))}") from None
        except httpx.TimeoutException:
            raise Refused(f"{self._model} was too slow") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TypeError) as error:
            reason = excerpt(str(error) or repr(error))
            raise Refused(f"{self._model} at {self._host} cannot be asked: {reason}") from None
        sizes = {len(vector) for vector in vectors}
        right = len(sizes) == 1 and (not dimension or dimension in sizes)
        if len(vectors) != len(texts) or not right or not all(map(_is_usable, vectors)):
            raise Refused(f"{self._model} gave vectors of no use")
        return list(vectors)

    async def measure(self, store: MemoryStore, dimension: int) -> None:
        """Make sure that the store knows how alike unrelated texts look to this model."""
        if await store.in_thread(store.unrelated, self._model, dimension) is None:
            try:
                vectors = await self.embed(UNRELATED, dimension)
            except Refused:  # so many at once, perhaps
                vectors = [(await self.embed([text], dimension))[0] for text in UNRELATED]
            await store.in_thread(store.set_unrelated, self._model, dimension, likeness_of(vectors))

    async def embed_missing(self, store: MemoryStore, image_id: str, dimension: int) -> None:
        """Embed all that has no vector of this dimension yet, the newest first, but for what is refused."""
        which = image_id, self._model, dimension
        left, _ = await store.in_thread(store.count_without_vector, *which)
        if left:
            await self.measure(store, dimension)
        while left > 0:
            missing = await store.in_thread(store.without_vector, *which, most=AT_ONCE)
            if not missing:  # forgotten meanwhile
                return
            try:
                vectors = await self.embed(list(missing.values()), dimension)
            except Refused:
                for number, text in missing.items():
                    await self._embed_one(store, number, text, dimension)
            else:
                embedded = dict(zip(missing, vectors, strict=True))
                await store.in_thread(store.set_vectors, self._model, embedded)
            left, _ = await store.in_thread(store.count_without_vector, *which)

    async def _embed_one(self, store: MemoryStore, number: int, text: str, dimension: int) -> None:
        for length in (len(text), *(length for length in SHORTENED if length < len(text))):
            try:
                (vector,) = await self.embed([text[:length]], dimension)
            except Refused:
                continue
            await store.in_thread(store.set_vectors, self._model, {number: vector})
            return
        # Refused for good, if others are not: this raises where the server embeds nothing at all now.
        await self.embed(UNRELATED[:1], dimension)
        await store.in_thread(store.set_refused, self._model, number)


def likeness_of(vectors: Sequence[Vector]) -> float:
    """The mean cosine similarity of vectors, and never so near to 1 that nothing could be told apart."""

    def cosine(one: Vector, other: Vector) -> float:
        return sum(map(mul, one, other), 0.0) / (math.hypot(*one) * math.hypot(*other))

    return min(0.99, max(0.0, mean(cosine(one, other) for one, other in combinations(vectors, 2))))


def _is_usable(vector: Vector) -> bool:
    """Whether a direction is left of it in the 32 bits that the store has for each number."""
    kept = array("f", vector)
    return any(kept) and all(map(math.isfinite, kept))
