"""What models and model servers do beside answering, for the scripted server: think, refuse, shorten."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse, Response


class Habits(BaseModel):
    """`thinks`: where its thinking stands, if it thinks whatever it is told.

    `thinking_tokens`: how long it thinks. `unclosed` thinking is all that it says.
    `refuses_think`: the error for any request that has the field `think`; nothing: it knows the field.
    `refuses`: the error for any request, as a 400.
    `around`: what stands around each JSON answer, which replaces `ANSWER` in it.
    `bytes_per_token`: English has four.
    `window`: the most tokens of a prompt that it reads, whatever `num_ctx` says.
    `tells_window`: in /api/ps, which others lack.
    `counts_cached`: False: only what is not in the cache is counted, here two tokens.
    """

    model_config = ConfigDict(extra="forbid")

    thinks: Literal["no", "field", "tags", "no_opening_tag", "unclosed"] = "no"
    thinking_tokens: int = 200
    refuses_think: str = ""
    refuses: str = ""
    bytes_per_token: int = 4
    around: str = "ANSWER"
    window: int | None = None
    tells_window: bool = True
    counts_cached: bool = True

    def refusal(self, body: dict[str, Any]) -> Response | None:
        error = self.refuses or ("think" in body and self.refuses_think)
        return JSONResponse({"error": error}, status_code=400) if error else None

    def thinking(self) -> Iterator[dict[str, str]]:
        """The parts of the message before the answer, each a token."""
        if self.thinks == "no":
            return
        if self.thinks in ("tags", "unclosed"):
            yield {"content": "<think>\n"}
        key = "thinking" if self.thinks == "field" else "content"
        for number in range(self.thinking_tokens):
            yield {"content": "", key: f"SECRET{number} "}
        if self.thinks in ("tags", "no_opening_tag"):
            yield {"content": "</think>\n\n"}

    def tokens_read(self, prompt: str, options: dict[str, Any]) -> int:
        """Never more than the window."""
        window = min(self.window or 1_000_000, options.get("num_ctx", 4096))
        tokens = len(prompt.encode()) // self.bytes_per_token
        return min(tokens, window) if self.counts_cached else 2


class Listing(BaseModel):
    """How /api/tags answers, after `delay_seconds`: with the models, or with this status and body.

    `digests`: of models by their names; that of another one follows from its name. None: it tells none.
    """

    digests: dict[str, str] | None = {}
    status: int = 200
    body: str = ""
    delay_seconds: float = 0.0

    def model(self, name: str) -> dict[str, Any]:
        """A model as it is listed."""
        listed = {"name": name, "model": name, "size": 0}
        if self.digests is None:
            return listed
        return {**listed, "digest": self.digests.get(name) or hashlib.sha256(name.encode()).hexdigest()}

    def instead(self) -> Response | None:
        if self.status == 200 and not self.body:
            return None
        return Response(self.body or json.dumps({"error": "as scripted"}), status_code=self.status)
