"""Recalls what bears on a task: by embeddings where the model server has them, else by shared words."""

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from datetime import UTC, datetime
from typing import NamedTuple

import apsw
from temporalio import activity
from temporalio.client import Client

from activities.memory.background import Background, Looks, done_by
from activities.memory.embedding import Embedder, NoEmbeddings
from activities.memory.histories import Heard, Histories
from activities.memory.store import Found, MemoryStore, Vector
from activities.model_server.backend import ModelBackend
from messages.common import excerpt
from messages.memory import Recalled, RecallRequest, Recollection

log = logging.getLogger(__name__)

RECALL_SECONDS = 0.8
"""All that a task ever waits for the memory, which leaves something of a second for a busy worker."""
SEARCH_SECONDS = 60.0
"""What a person waits who searches it."""
LOOKING, GATHERING = 0.5, 0.75
"""The parts of that after which nobody waits longer for new tasks, and for embeddings. Then it answers."""
NEW_ENOUGH_SECONDS = 1.0
"""How old a look at the server's list may be, which lags by as much; it is never older than the question."""
MOST_FORESEEN = 64
FORESEEN_IN_VAIN = 4
"""Tasks in a row that did not recall after all, after which an image is left alone until one does."""
# Measured on ten questions against four memories. With all-MiniLM-L6-v2 the five pairs of one subject score
# 0.30 or more and all others less than 0.18. By shared words two of the five score 0.45 or more, all others
# less than 0.38: words that stand in every question are shared too.
LEAST_LIKE = 0.25
LEAST_SHARED = 0.4
TASK_CHARACTERS = 240
SYNTHESIS_CHARACTERS = 600
"""A synthesis is four short sentences. Ten such memories take a prompt less than 3,000 tokens."""


class _Model(NamedTuple):
    """A model for embeddings, and the [models] host that has it."""

    host: str
    name: str


class Memory:
    """The memory of this machine, kept in `store`. It belongs to one event loop.

    Histories are read, and texts embedded, in the background. A recall takes what is there in time.
    """

    def __init__(self, client: Client, backend: ModelBackend, store: MemoryStore) -> None:
        self._backend = backend
        self._store = store
        self._background = Background()
        self._histories = Histories(client)
        self._looks = Looks(self._histories, store, self._background)
        self._embedders: dict[_Model, Embedder] = {}
        # Which model an image recalls with, as far as it does; for others nothing is foreseen.
        self._models: dict[str, _Model] = {}
        self._in_vain: Counter[str] = Counter()
        # The vectors of tasks that were begun while these were planned.
        self._foreseen: OrderedDict[str, asyncio.Task[Vector]] = OrderedDict()
        self._embedding: dict[tuple[str, _Model], asyncio.Task[None]] = {}

    @activity.defn
    async def recall(self, wanted: RecallRequest) -> Recalled:
        """What the image remembers that bears on a text. Never fails: a task goes on without memory."""
        try:
            return await self.look_up(wanted, RECALL_SECONDS)
        except TimeoutError:
            return Recalled(means="nothing: the memory of this machine took too long")
        except apsw.BusyError:
            return Recalled(means="nothing: another program holds the memory of this machine")
        except (apsw.Error, OSError) as error:
            log.warning("The memory %s cannot be used: %s", self._store.path, error)
            reason = excerpt(str(error))
            return Recalled(means=f"nothing: the memory of this machine cannot be used ({reason})")

    async def look_up(self, wanted: RecallRequest, within_seconds: float = SEARCH_SECONDS) -> Recalled:
        """As `recall`, outside of an activity. Raises apsw.Error or OSError where the file cannot be used."""
        try:
            async with asyncio.timeout(within_seconds):
                return await self._look_up(wanted, within_seconds)
        except TimeoutError:
            raise TimeoutError(f"it took longer than {within_seconds:g} s") from None

    async def _look_up(self, wanted: RecallRequest, within_seconds: float) -> Recalled:
        now = asyncio.get_running_loop().time()
        looked_by, gathered_by = (now + part * within_seconds for part in (LOOKING, GATHERING))
        look = self._looks.since(wanted.image_id, _old_enough(wanted))
        embedded = self._embedded(wanted)
        await done_by(looked_by, look)
        await done_by(gathered_by, embedded)
        missed = look.result() if look.done() else "the server's histories are still read"
        try:
            if not embedded.done():
                raise NoEmbeddings(f"{wanted.model} was too slow")
            vector = embedded.result()
        except NoEmbeddings as error:
            found, means = await self._store.in_thread(self._by_words, wanted), f"shared words ({error})"
        else:
            found, means = await self._like(wanted, vector, gathered_by)
        if missed:
            means += f", without what ended lately ({missed})"
        return Recalled(items=[_recollection(memory) for memory in found], means=means)

    def _embedded(self, wanted: RecallRequest) -> asyncio.Task[Vector]:
        """The vector of a text, which may have been foreseen; from now on the image's next texts are."""
        foreseen = self._foreseen.pop(wanted.task_id, None)
        self._in_vain[wanted.image_id] = 0
        model = _Model(wanted.host, wanted.model)
        if foreseen is not None and self._models.get(wanted.image_id) == model:
            return foreseen
        self._models[wanted.image_id] = model
        return self._background.start(self._embed(model, wanted.text))

    def foresee(self, image_id: str, task_id: str, text: str) -> None:
        """Begin what a recall for this task will wait for, if its image has recalled before."""
        if (model := self._models.get(image_id)) is None:
            return
        self._in_vain[image_id] += 1
        if self._in_vain[image_id] > FORESEEN_IN_VAIN:
            del self._models[image_id]
            return
        look = self._looks.since(image_id, time.time() - NEW_ENOUGH_SECONDS)
        vector = self._foreseen[task_id] = self._background.start(self._embed(model, text))
        while len(self._foreseen) > MOST_FORESEEN:
            self._foreseen.popitem(last=False)
        self._background.start(self._embed_what_is_new(image_id, model, look, vector))

    def hear(self, workflow_id: str, run_id: str, task: str, synthesis: str) -> None:
        """A dialogue's last word, which need then not be read in its history."""
        self._histories.hear(workflow_id, Heard(run_id, task, synthesis, datetime.now(UTC)))

    async def close(self) -> None:
        """Stop what goes on in the background, and close the connections; the worker has stopped."""
        await self._background.close()
        for embedder in self._embedders.values():
            await embedder.close()
        self._embedders.clear()

    # --- in the background ---

    async def _embed(self, model: _Model, text: str) -> Vector:
        (vector,) = await self._embedder(model).embed([text])
        return vector

    async def _embed_what_is_new(
        self, image_id: str, model: _Model, look: asyncio.Task[str], vector: asyncio.Task[Vector]
    ) -> None:
        await asyncio.wait([look, vector])
        if not vector.exception():
            await self._embed_missing(image_id, model, len(vector.result()))

    def _embed_missing(self, image_id: str, model: _Model, dimension: int) -> asyncio.Task[None]:
        embedding = self._embedding.get((image_id, model))
        if embedding is None or embedding.done():
            work = self._embed_all(image_id, model, dimension)
            embedding = self._embedding[image_id, model] = self._background.start(work)
        return embedding

    async def _embed_all(self, image_id: str, model: _Model, dimension: int) -> None:
        try:
            await self._embedder(model).embed_missing(self._store, image_id, dimension)
        except (NoEmbeddings, apsw.Error, OSError) as error:
            log.warning("Not all of the memory could be embedded: %r", error)

    def _embedder(self, model: _Model) -> Embedder:
        if model not in self._embedders:
            self._embedders[model] = Embedder(self._backend.reach(model.host), model.name)
        return self._embedders[model]

    # --- what is there ---

    async def _like(
        self, wanted: RecallRequest, vector: Vector, gathered_by: float
    ) -> tuple[list[Found], str]:
        model = _Model(wanted.host, wanted.model)
        if (embedding := self._embedding.get((wanted.image_id, model))) is not None:
            await done_by(gathered_by, embedding)
        found, left, refused = await self._store.in_thread(self._by_vector, wanted, vector)
        if left:
            await done_by(gathered_by, self._embed_missing(wanted.image_id, model, len(vector)))
            found, left, refused = await self._store.in_thread(self._by_vector, wanted, vector)
        means = f"embeddings {wanted.model}"
        if not left and not refused:
            return found, means
        found += await self._store.in_thread(self._by_words, wanted, (wanted.model, len(vector)))
        found.sort(key=lambda memory: -memory.score)
        counts = {"not embedded yet": left, "that it does not embed": refused}
        without = " and ".join(f"{count} {why}" for why, count in counts.items() if count)
        return found[: wanted.most], f"{means}, and shared words for {without}"

    def _by_vector(self, wanted: RecallRequest, vector: Vector) -> tuple[list[Found], int, int]:
        """What is like a text; how many memories have no vector yet, and how many are refused one."""
        image_id, model = wanted.image_id, wanted.model
        found = self._store.by_vector(
            image_id, model, vector, besides=wanted.task_id, least=LEAST_LIKE, most=wanted.most
        )
        return found, *self._store.count_without_vector(image_id, model, len(vector))

    def _by_words(self, wanted: RecallRequest, unless: tuple[str, int] = ("", 0)) -> list[Found]:
        return self._store.by_words(
            wanted.image_id,
            wanted.text,
            besides=wanted.task_id,
            least=LEAST_SHARED,
            most=wanted.most,
            unless=unless,
        )


def _old_enough(wanted: RecallRequest) -> float:
    """The moment at which a look for this request may have begun, in seconds since the epoch."""
    now = time.time()
    asked_at = wanted.asked_at.timestamp() if wanted.asked_at else now
    return max(min(asked_at, now), now - NEW_ENOUGH_SECONDS)


def _recollection(memory: Found) -> Recollection:
    return Recollection(
        task_id=memory.task_id,
        task=excerpt(memory.task, TASK_CHARACTERS),
        synthesis=excerpt(memory.synthesis, SYNTHESIS_CHARACTERS),
        score=round(memory.score, 3),
    )
