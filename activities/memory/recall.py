"""Recalls what bears on a task: by embeddings where the model server has them, else by shared words."""

import asyncio
import logging
from pathlib import Path

import apsw
from pydantic import ValidationError
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError

from activities.failures import Attempt
from activities.memory.embedding import EMBED_SECONDS, Embedder, NoEmbeddings
from activities.memory.histories import Histories
from activities.memory.store import Found, MemoryStore, Vector
from activities.personas import ModelBackend
from messages.common import excerpt
from messages.memory import Recalled, RecallRequest, Recollection

log = logging.getLogger(__name__)

CATCH_UP_SECONDS = 15.0
"""For reading histories: fifty of them take less than a second on a server nearby."""
# Measured on ten questions against four memories. With all-MiniLM-L6-v2 the five pairs of one subject score
# 0.30 or more and all others less than 0.18. By shared words two of the five score 0.45 or more, all others
# less than 0.38: words that stand in every question are shared too.
LEAST_LIKE = 0.25
LEAST_SHARED = 0.4
TASK_CHARACTERS = 240
SYNTHESIS_CHARACTERS = 600
"""A synthesis is four short sentences. Ten such memories take a prompt less than 3,000 tokens."""


class Memory:
    """The memory of this machine, in the file at `path`."""

    def __init__(self, client: Client, backend: ModelBackend, path: Path) -> None:
        self._histories = Histories(client)
        self._backend = backend
        self._store = MemoryStore(path)

    @activity.defn
    async def recall(self, wanted: RecallRequest) -> Recalled:
        """What the image remembers that bears on a text. Never fails: a task goes on without memory."""
        try:
            async with Attempt().heartbeats():
                return await self.look_up(wanted)
        except (apsw.Error, OSError) as error:
            log.warning("The memory %s cannot be used: %s", self._store.path, error)
            reason = excerpt(str(error))
            return Recalled(means=f"nothing: the memory of this machine cannot be used ({reason})")

    async def look_up(self, wanted: RecallRequest) -> Recalled:
        """As `recall`, outside of an activity. Raises apsw.Error or OSError where the file cannot be used."""
        await self._catch_up(wanted.image_id)
        found, means = await self._find(wanted)
        return Recalled(items=[_recollection(memory) for memory in found], means=means)

    async def _catch_up(self, image_id: str) -> None:
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await self._histories.catch_up(self._store, image_id)
        except (RPCError, TimeoutError, ValidationError) as error:
            log.warning("The memory could not read on in the histories: %r", error)

    async def _find(self, wanted: RecallRequest) -> tuple[list[Found], str]:
        store, image_id, model = self._store, wanted.image_id, wanted.model
        try:
            vector = await self._embed(wanted)
        except NoEmbeddings as error:
            return await asyncio.to_thread(self._by_words, wanted), f"shared words ({error})"
        found = await asyncio.to_thread(
            store.by_vector,
            image_id,
            model,
            vector,
            besides=wanted.task_id,
            least=LEAST_LIKE,
            most=wanted.most,
        )
        left = len(await asyncio.to_thread(store.without_vector, image_id, model, len(vector)))
        if not left:
            return found, f"embeddings {model}"
        found += await asyncio.to_thread(self._by_words, wanted, model)
        found.sort(key=lambda memory: -memory.score)
        return found[: wanted.most], f"embeddings {model}, and shared words for {left} not embedded yet"

    async def _embed(self, wanted: RecallRequest) -> Vector:
        """The vector of what is looked for; memories get theirs too, as far as time allows."""
        async with Embedder(self._backend.reach(wanted.host), wanted.model) as embedder:
            (vector,) = await embedder.embed([wanted.text])
            await embedder.measure(self._store, len(vector))
            try:
                async with asyncio.timeout(EMBED_SECONDS):
                    await embedder.embed_missing(self._store, wanted.image_id, len(vector))
            except (NoEmbeddings, TimeoutError) as error:
                log.warning("Not all of the memory could be embedded: %r", error)
            return vector

    def _by_words(self, wanted: RecallRequest, unless_embedded: str = "") -> list[Found]:
        return self._store.by_words(
            wanted.image_id,
            wanted.text,
            besides=wanted.task_id,
            least=LEAST_SHARED,
            most=wanted.most,
            unless_embedded=unless_embedded,
        )


def _recollection(memory: Found) -> Recollection:
    return Recollection(
        task_id=memory.task_id,
        task=excerpt(memory.task, TASK_CHARACTERS),
        synthesis=excerpt(memory.synthesis, SYNTHESIS_CHARACTERS),
        score=round(memory.score, 3),
    )
