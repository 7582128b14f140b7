"""Which model answers, and where: the one that a call names, or the embedded one for all."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from activities.model_server.client import reach
from messages.calls import PersonaCall
from messages.common import excerpt


class ModelBackend(BaseModel):
    """How this worker reaches models. An embedded model speaks for every persona."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["ollama", "embedded"] = "ollama"
    host: str = ""
    model: str = ""

    @model_validator(mode="after")
    def _embedded_is_somewhere(self) -> Self:
        if self.kind == "embedded" and not (self.host and self.model):
            raise ValueError("an embedded model needs its host and its name")
        return self

    def target(self, call: PersonaCall) -> tuple[str, str]:
        """The host and the model that a call goes to."""
        return self.reach(call.host), self.model if self.kind == "embedded" else call.model

    def reach(self, host: str) -> str:
        """The model server to ask where [models] names this host."""
        return self.host if self.kind == "embedded" else reach(host)

    def describe(self, *models: str) -> str:
        """In a person's words, at most 120 characters: the backend, and the models that really answer."""
        if self.kind == "embedded":
            return excerpt(f"embedded {self.model} (small model, for trying out)")
        return excerpt(f"ollama {', '.join(dict.fromkeys(models))}")
