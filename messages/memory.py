"""What BABS is handed of earlier tasks."""

from datetime import datetime

from pydantic import BaseModel


class Recollection(BaseModel):
    """An earlier task that bears on this one, in excerpts. `score`: how much, 0 to 1."""

    task_id: str
    task: str
    synthesis: str
    score: float


class RecallRequest(BaseModel):
    """What to look for in the memory: at most `most` earlier tasks of the image that bear on a text.

    `host` and `model` are those of [models] for embeddings. `task_id` names the task that asks; what had
    ended at `asked_at` is to be found (None: now).
    """

    image_id: str
    task_id: str
    asked_at: datetime | None = None
    text: str
    host: str
    model: str
    most: int


class Recalled(BaseModel):
    """What was found, best first, and by which means: embeddings, shared words, or why by none."""

    items: list[Recollection] = []
    means: str
