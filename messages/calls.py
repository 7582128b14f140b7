"""Persona calls: one call of a model, and what comes back."""

from typing import Self

from pydantic import BaseModel

from configuration import CONTEXT_TOKENS, Settings
from messages.common import Persona
from messages.tasks import Dissonance


class PersonaCall(BaseModel):
    """One call of a model. `words` is an entry of prompts.toml, `fields` fill its placeholders."""

    persona: Persona
    words: str
    fields: dict[str, str]
    model: str
    host: str
    temperature: float
    max_answer_tokens: int
    context_tokens: int = CONTEXT_TOKENS
    timeout_seconds: float
    max_concurrent_calls: int

    @classmethod
    def under(cls, settings: Settings, persona: Persona, words: str, fields: dict[str, str]) -> Self:
        """A call of a persona's model under these settings."""
        models = settings.models
        return cls(
            persona=persona,
            words=words,
            fields=fields,
            model=models.by_persona()[persona],
            host=models.host,
            temperature=settings.temperatures.by_persona()[persona],
            max_answer_tokens=models.max_answer_tokens,
            context_tokens=models.context_tokens,
            timeout_seconds=models.call_timeout.total_seconds(),
            max_concurrent_calls=models.max_concurrent_calls,
        )


class Usage(BaseModel):
    """What one call took, thinking and repeated questions included.

    `model_backend` says which model really answered, and where.
    """

    tokens_in: int
    tokens_out: int
    seconds: float
    model_backend: str


class Plan(BaseModel):
    plan: str
    needs_research: bool
    usage: Usage


class Speech(BaseModel):
    text: str
    usage: Usage


class Judgement(BaseModel):
    dissonance: Dissonance
    usage: Usage
