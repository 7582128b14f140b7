"""Persona calls: one call of a model, and what comes back."""

from pydantic import BaseModel

from configuration import CONTEXT_TOKENS
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
