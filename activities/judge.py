"""Which of two answers is better: the form of what a model answers to prompts.toml's entry `compare`."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from messages.trials import Better


class ComparedAnswer(BaseModel):
    """What the model must answer: the reason first, so that the label follows from it."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    better: Better
