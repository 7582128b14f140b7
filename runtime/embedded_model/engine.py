"""llama.cpp inside this process: one model, asked over llama.cpp's own HTTP port on loopback.

Over HTTP and always streamed, although `xllamacpp.Server` can be called directly: only when the connection of
a stream closes does llama.cpp stop at once. Otherwise it works on for minutes for a client that has gone.
"""

import json
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from starlette.exceptions import HTTPException

# One speaker's turn and one other call side by side; more slots would share the same cores and take memory.
SLOTS = 2
# A persona's prompt is well under 2,000 tokens; a longer one would keep a small machine busy for minutes.
SLOT_CONTEXT_TOKENS = 8192
# llama.cpp embeds a text in one batch, and a larger one needs more working memory.
BATCH_TOKENS = 512
# Keeps the personas' prompts, so that a turn evaluates only what is new in it; llama.cpp's default is 8 GiB.
PROMPT_CACHE_MIB = 512
# llama.cpp closes kept connections unannounced after some answers, and the next request then fails.
NO_KEPT_CONNECTIONS = httpx.Limits(max_keepalive_connections=0)


class EngineRefused(HTTPException):
    """llama.cpp did not do what was asked, with its HTTP status and its reason."""


class Engine:
    """A model file loaded into llama.cpp. Raises RuntimeError if it cannot be loaded.

    facts: llama.cpp's description of the model: n_params, n_embd, n_ctx_train, ftype (quantisation), ...
    """

    def __init__(self, gguf: Path) -> None:
        # Idle OpenMP threads would spin and take the cores from others. Read when the library is loaded.
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
        import xllamacpp  # type: ignore[import-untyped]  # noqa: PLC0415

        key = secrets.token_urlsafe()
        params = xllamacpp.CommonParams()
        params.model.path = str(gguf)
        params.n_parallel = SLOTS
        params.n_ctx = SLOTS * SLOT_CONTEXT_TOKENS
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.cache_ram_mib = PROMPT_CACHE_MIB
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        params.hostnames = ["127.0.0.1"]
        params.api_keys = [key]  # the port is open to everybody on this machine
        params.ui = False
        params.endpoint_slots = False
        params.verbosity = 0  # its errors come with its answers, and its log thread prints late
        self._server = xllamacpp.Server(params)
        address, headers = self._server.listening_address, {"Authorization": f"Bearer {key}"}
        # trust_env: no proxy between a process and itself. timeout: a busy machine may take minutes, and the
        # client in front knows how long it will wait.
        self._http = httpx.AsyncClient(
            base_url=address, headers=headers, timeout=None, trust_env=False, limits=NO_KEPT_CONNECTIONS
        )
        # Asked for once: chats that wait for a slot also take up all the threads that could answer.
        models = httpx.get(f"{address}/v1/models", headers=headers, timeout=None, trust_env=False)
        self.facts: dict[str, Any] = models.json()["data"][0]["meta"]

    async def chat(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Yield the chunks of an OpenAI chat completion, the first as soon as a slot begins with the prompt.

        The first chunk has no text yet, the last has `usage` and `timings`. Raises EngineRefused.
        """
        streamed = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
        async with self._http.stream("POST", "/v1/chat/completions", json=request | streamed) as response:
            if response.is_error:
                await response.aread()
            _checked(response)
            async for line in _lines(response):
                if not line.startswith(b"data: {"):
                    continue
                chunk = json.loads(line.removeprefix(b"data: "))
                if "error" in chunk:
                    raise EngineRefused(500, chunk["error"]["message"])
                yield chunk

    async def embed(self, texts: list[str]) -> tuple[list[list[float]], int]:
        """Embed texts, each cut to BATCH_TOKENS: their vectors and all their tokens. Raises EngineRefused."""
        tokens = []
        for text in texts:
            response = _checked(await self._http.post("/tokenize", json={"content": text}))
            tokens.append(response.json()["tokens"][:BATCH_TOKENS])
        answer = _checked(await self._http.post("/v1/embeddings", json={"input": tokens})).json()
        return [item["embedding"] for item in answer["data"]], answer["usage"]["prompt_tokens"]


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """Not httpx's own lines, which end at U+2028 too: llama.cpp sends that one as the model said it."""
    rest = b""
    async for chunk in response.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise EngineRefused(response.status_code, response.json()["error"]["message"])
    return response
