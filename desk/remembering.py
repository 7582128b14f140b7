"""What the commands of `starter.py memory` do with the store of this machine."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
from pydantic import BaseModel

from activities.memory.histories import Histories
from activities.memory.recall import Memory
from activities.memory.store import MemoryStore
from activities.model_server.backend import ModelBackend
from configuration import ModelSettings
from connection.places import SETTINGS, memory_file
from connection.plain_words import Addressee, in_plain_words
from connection.problems import Problem, Unknown
from desk.client import Desk
from desk.which import read_settings
from messages.memory import Recalled, RecallRequest

MOST_FOUND = 10
"""As many as BABS can be handed at most."""


class Rebuilt(BaseModel):
    """How many tasks the store of an image holds after it was rebuilt."""

    image_id: str
    remembered: int


async def search(desk: Desk, state_dir: Path, text: str) -> Recalled:
    """What BABS would recall for a text on this machine. Raises Problem."""
    if not text.strip():
        raise Problem('Say what to look for: python starter.py memory search "trees in towns"')
    file = memory_file(state_dir)
    host, model = _embedding(desk.settings)
    wanted = RecallRequest(
        image_id=desk.image_id, task_id="", text=text, host=host, model=model, most=MOST_FOUND
    )
    with _opened(file) as store:
        memory = Memory(desk.client, ModelBackend(), store)
        try:
            return await memory.look_up(wanted)
        finally:
            await memory.close()


async def rebuild(desk: Desk, state_dir: Path, kept: Callable[[], Iterable[dict[str, Any]]]) -> Rebuilt:
    """Begin the memory of an image anew, from what is kept elsewhere and on the server. Raises Problem."""
    name = f"living image {desk.image_id!r}"
    the_image = Addressee(f"the {name}", Unknown(f"No {name} is known at {desk.server}"))
    with _opened(memory_file(state_dir)) as store, in_plain_words(desk.server, the_image):
        await asyncio.to_thread(store.forget, desk.image_id)
        await asyncio.to_thread(store.add, kept())
        await Histories(desk.client).catch_up(store, desk.image_id, listed=None)
        remembered = len(await asyncio.to_thread(store.task_ids, desk.image_id))
    return Rebuilt(image_id=desk.image_id, remembered=remembered)


def remember(state_dir: Path, entries: list[dict[str, Any]]) -> None:
    """Take entries from elsewhere into the store of this machine. Raises Problem."""
    with _opened(memory_file(state_dir)) as store:
        store.add(entries)


def _embedding(settings: Path | None) -> tuple[str, str]:
    """The host and the model for embeddings; without a settings file those of a machine that has none."""
    if settings is None and not SETTINGS.exists():
        return "", str(ModelSettings.model_fields["embedding"].default)
    models = read_settings(settings)[1].models
    return models.host, models.embedding


@contextmanager
def _opened(file: Path) -> Iterator[MemoryStore]:
    store = MemoryStore(file)
    try:
        store.held("", ())  # so that a file of no use is noticed before anything is asked of anybody
        yield store
    except (apsw.Error, OSError) as error:
        raise Problem(
            f"The memory {file} cannot be used ({error}). Correct --state-dir, or delete the file; "
            "python starter.py memory rebuild makes it anew"
        ) from None
    finally:
        store.close()
