"""Persona calls: one call of a model, what is heard of it meanwhile, and what comes back."""

from typing import Self

from pydantic import BaseModel

from configuration import CONTEXT_TOKENS, Settings, Tunable, Value
from messages.common import Persona
from messages.tasks import Dissonance
from messages.trials import Better, Candidate


class PersonaCall(BaseModel):
    """One call of a model. `words` is an entry of prompts.toml, `fields` fill its placeholders.

    `team`: every model that may speak in the argument that this call begins, for its conditions.
    """

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
    team: list[str] = []

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


def team_of(settings: Settings) -> list[str]:
    """Every model that speaks for a persona under these settings, or would under others that may be tried.

    With those, trying another of them is a change of the settings alone.
    """
    choices = [tunable.choices for key, tunable in settings.tunables().items() if key.startswith("models.")]
    return sorted({*settings.models.by_persona().values(), *(model for each in choices for model in each)})


class Heard(BaseModel):
    """What a heartbeat of a running call says. `failed` counts the failures of earlier attempts, by type.

    `said` is the end of what the persona has said so far, without its thinking, and `before` the number of
    characters that it leaves out. Both are of the attempt under way: another one begins anew.
    """

    persona: str = ""
    state: str = ""
    tokens: int = 0
    said: str = ""
    before: int = 0
    failed: dict[str, int] = {}


class Usage(BaseModel):
    """What one call took, thinking and repeated questions included.

    `model_backend` says which model really answered, and where; `model` and `model_digest` name it as its
    server does, the digest where the server tells one.
    """

    tokens_in: int
    tokens_out: int
    seconds: float
    model_backend: str
    model: str = ""
    model_digest: str = ""


class Plan(BaseModel):
    """`conditions`: what beside the settings the whole argument rests on, see activities/conditions.py."""

    plan: str
    needs_research: bool
    usage: Usage
    conditions: str = ""


class Speech(BaseModel):
    text: str
    usage: Usage


class Judgement(BaseModel):
    dissonance: Dissonance
    usage: Usage


class Creating(BaseModel):
    """The order to think of candidates: what may be changed, what it is now, what became of earlier changes.

    `top`: the best candidates by numbers alone. `past`: a line each.
    """

    call: PersonaCall
    tunables: list[Tunable]
    values: dict[str, Value]
    top: list[Candidate] = []
    past: list[str] = []


class Created(BaseModel):
    candidates: list[Candidate]
    usage: Usage


class Compared(BaseModel):
    """Which of two answers is better."""

    better: Better
    usage: Usage
