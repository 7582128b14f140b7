"""What a model is asked, and what it answered."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import BaseModel


@dataclass(frozen=True)
class Question:
    """What to ask, where. `may_be_raised`: `answer_tokens`, in settings.toml."""

    host: str
    model: str
    messages: list[dict[str, str]]
    temperature: float
    answer_tokens: int
    context_tokens: int
    timeout_seconds: float
    form: type[BaseModel] | None = None
    may_be_raised: bool = True

    def __str__(self) -> str:
        return f"{self.model} at {self.host}"

    @property
    def bytes(self) -> int:
        return sum(len(message["content"].encode()) for message in self.messages)

    def attributes(self) -> dict[str, str | int | float]:
        """What a trace says of it, in the words of OpenTelemetry's semantic conventions for GenAI (1.44)."""
        return {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "ollama",
            "gen_ai.request.model": self.model,
            "gen_ai.request.temperature": self.temperature,
            "gen_ai.request.max_tokens": self.answer_tokens,
            "gen_ai.output.type": "text" if self.form is None else "json",
            **self._server(),
        }

    def _server(self) -> dict[str, str | int | float]:
        try:
            server = urlsplit(self.host)
            return {"server.address": server.hostname or "", "server.port": server.port or 0}
        except ValueError:  # no address; whoever asks there is told
            return {}


@dataclass
class Answer:
    """What has come back. `text` is without the thinking, the tokens are with it.

    `waited`: seconds for a slot, beside the `seconds` of the call.
    """

    text: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def attributes(self) -> dict[str, int]:
        return {
            "gen_ai.usage.input_tokens": self.tokens_in,
            "gen_ai.usage.output_tokens": self.tokens_out,
        }
