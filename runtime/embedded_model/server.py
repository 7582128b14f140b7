"""The Ollama HTTP API in front of the engine: what the `ollama` client asks for, and no more.

Every error is `{"error": "..."}` with the status that Ollama would give it.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from runtime.embedded_model.engine import SLOT_CONTEXT_TOKENS, Engine, EngineRefused

# Ollama's options that llama.cpp knows by the same name; those for loading (num_ctx, ...) are passed over.
SAMPLING_OPTIONS = {
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "seed",
    "stop",
    "repeat_penalty",
    "repeat_last_n",
    "presence_penalty",
    "frequency_penalty",
}
# nginx's number for "the client has gone"; nobody is left to read it.
CLIENT_GONE = 499
NANOSECONDS_PER_MILLISECOND = 1_000_000


class OllamaServer:
    """The request handlers for one model under one name."""

    def __init__(self, engine: Engine, gguf: Path, name: str) -> None:
        self._engine = engine
        self._gguf = gguf
        self._name = name
        # Seconds for a large file, which nobody but whoever asks for it waits for.
        self._digest = ThreadPoolExecutor(1, thread_name_prefix="digest").submit(_sha256, gguf)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", _alive),
                Route("/api/version", _version),
                Route("/api/tags", self._tags),
                Route("/api/ps", self._ps),
                Route("/api/show", self._show, methods=["POST"]),
                Route("/api/chat", self._chat, methods=["POST"]),
                Route("/api/embed", self._embed, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _http_error},
        )

    async def _tags(self, _: Request) -> Response:
        digest = await asyncio.wrap_future(self._digest)
        return JSONResponse({"models": [self._listing() | {"digest": digest}]})

    async def _ps(self, _: Request) -> Response:
        # It is loaded as long as the process lives, which Ollama writes as a time far ahead.
        loaded = {"expires_at": "9999-12-31T23:59:59Z", "size_vram": 0, "context_length": SLOT_CONTEXT_TOKENS}
        return JSONResponse({"models": [self._listing() | loaded]})

    async def _show(self, request: Request) -> Response:
        await self._body(request)
        facts = self._engine.facts
        return JSONResponse(
            {
                "details": self._details(),
                "model_info": {
                    "general.parameter_count": facts["n_params"],
                    "general.context_length": facts["n_ctx_train"],
                    "general.embedding_length": facts["n_embd"],
                },
                "capabilities": ["completion", "embedding"],
                "modified_at": self._modified_at(),
            }
        )

    async def _chat(self, request: Request) -> Response:
        body = await self._body(request)
        answer = self._answer(_completion_request(body))
        # The first part says only that the engine has begun: until then a refusal can become an HTTP status.
        await anext(answer)
        if body.get("stream", True):
            return StreamingResponse(_lines(answer), media_type="application/x-ndjson")
        content = []
        async with aclosing(answer):
            async for part in answer:
                if await request.is_disconnected():
                    raise HTTPException(CLIENT_GONE)
                content.append(part["message"]["content"])
        return JSONResponse(part | {"message": {"role": "assistant", "content": "".join(content)}})

    async def _answer(self, completion: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Yield Ollama's chat responses: one for each piece of text, the first one empty, then figures."""
        started_ns = time.perf_counter_ns()
        reason = "stop"
        chunk: dict[str, Any] = {}
        async with aclosing(self._engine.chat(completion)) as chunks:
            async for chunk in chunks:
                for choice in chunk["choices"]:
                    reason = choice["finish_reason"] or reason
                    yield self._part(choice["delta"].get("content") or "", done=False)
        timings = chunk["timings"]
        _log_figures(timings)
        yield self._part("", done=True) | {
            "done_reason": reason,
            "total_duration": time.perf_counter_ns() - started_ns,
            "load_duration": 0,
            "prompt_eval_count": chunk["usage"]["prompt_tokens"],
            "prompt_eval_duration": round(timings["prompt_ms"] * NANOSECONDS_PER_MILLISECOND),
            "eval_count": chunk["usage"]["completion_tokens"],
            "eval_duration": round(timings["predicted_ms"] * NANOSECONDS_PER_MILLISECOND),
        }

    def _part(self, content: str, *, done: bool) -> dict[str, Any]:
        message = {"role": "assistant", "content": content}
        return {
            "model": self._name,
            "created_at": datetime.now(UTC).isoformat(),
            "message": message,
            "done": done,
        }

    async def _embed(self, request: Request) -> Response:
        body = await self._body(request)
        texts = body.get("input", [])
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
            raise HTTPException(400, "input must be a text or a list of texts, none of them empty")
        started_ns = time.perf_counter_ns()
        vectors, tokens = await self._engine.embed(texts) if texts else ([], 0)
        return JSONResponse(
            {
                "model": self._name,
                "embeddings": vectors,
                "total_duration": time.perf_counter_ns() - started_ns,
                "load_duration": 0,
                "prompt_eval_count": tokens,
            }
        )

    async def _body(self, request: Request) -> dict[str, Any]:
        """The request's JSON object, if it is one and is meant for this model. Raises HTTPException."""
        try:
            body = await request.json()
        except ValueError as error:
            raise HTTPException(400, f"the request is not JSON: {error}") from None
        if not isinstance(body, dict) or not isinstance(body.get("model"), str):
            raise HTTPException(400, "model is required")
        if body["model"].removesuffix(":latest") != self._name:
            raise HTTPException(404, f"model '{body['model']}' not found: only '{self._name}' runs here")
        return body

    def _listing(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "model": self._name,
            "modified_at": self._modified_at(),
            "size": self._gguf.stat().st_size,
            "details": self._details(),
        }

    def _details(self) -> dict[str, str]:
        return {
            "format": "gguf",
            "parameter_size": f"{self._engine.facts['n_params'] / 1e9:.2f}B",
            "quantization_level": self._engine.facts["ftype"],
        }

    def _modified_at(self) -> str:
        return datetime.fromtimestamp(self._gguf.stat().st_mtime, UTC).isoformat()


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _log_figures(timings: dict[str, Any]) -> None:
    """A line of JSON for each answer: tokens of its prompt that were evaluated and reused, tokens written."""
    figures = {
        "evaluated": timings["prompt_n"],
        "reused": timings["cache_n"],
        "written": timings["predicted_n"],
        "reading_s": round(timings["prompt_ms"] / 1000, 3),
        "writing_s": round(timings["predicted_ms"] / 1000, 3),
    }
    print(json.dumps(figures), flush=True)


async def _alive(_: Request) -> Response:
    return PlainTextResponse("The embedded model is running and speaks the Ollama API")


async def _version(_: Request) -> Response:
    return JSONResponse({"version": f"0.0.0-xllamacpp-{version('xllamacpp')}"})


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code)


async def _lines(answer: AsyncGenerator[dict[str, Any]]) -> AsyncIterator[str]:
    """The parts that say something, as lines of JSON; a failure becomes the last line."""
    async with aclosing(answer):
        try:
            async for part in answer:
                if part["message"]["content"] or part["done"]:
                    yield json.dumps(part) + "\n"
        except EngineRefused as error:
            yield json.dumps({"error": error.detail}) + "\n"


def _completion_request(body: dict[str, Any]) -> dict[str, Any]:
    """Translate an Ollama chat request into an OpenAI one. Raises HTTPException for what is not served."""
    for unsupported in ("tools", "think"):
        if body.get(unsupported):
            raise HTTPException(400, f"{unsupported} is not supported by the embedded model")
    options = body.get("options") or {}
    if not isinstance(options, dict):
        raise HTTPException(400, "options must be an object")
    request = {name: value for name, value in options.items() if name in SAMPLING_OPTIONS}
    request["messages"] = body.get("messages")
    # In Ollama a negative number means no limit but the context.
    if (limit := options.get("num_predict")) is not None:
        request["max_tokens"] = limit
    match body.get("format"):
        case None | "":
            return request
        case "json":
            schema: dict[str, Any] = {"type": "object"}
        case dict() as given:
            schema = given
        case other:
            raise HTTPException(400, f'invalid format {other!r}: give "json" or a JSON schema')
    answer_format = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return request | {"response_format": answer_format}
