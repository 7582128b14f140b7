"""A scripted Ollama server, for tests and benchmarks: real HTTP, no model.

In a test: `async with FakeOllama(Script(labels=["unrelated", "partly_different"])) as fake: ... fake.url`.
As a process: `python -m testbed.fake_ollama --port 0` prints {"port": N}, lists its calls at /calls, and
takes another number of seconds before each answer at /delay.

The same question gets the same answer, as from a model at temperature 0: a call that is repeated after
a crash does not move the script on. Faults are not remembered.
"""

import argparse
import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from testbed.model_calls import Asks, Call, Embedding, read_call
from testbed.model_embeddings import embedded
from testbed.model_faults import (
    FAULTY_CONTENT,
    EmbeddingFault,
    Fault,
    FaultKind,
    next_fault,
    not_pulled,
    refusal,
)
from testbed.model_script import Answers, Script, answer_lines

__all__ = ["Asks", "EmbeddingFault", "FakeOllama", "FaultKind", "Script"]

PULL_BYTES = 4_000_000
"""The size of every model that is pulled."""


class FakeOllama:
    """The server. `script` may be changed while it runs; `answering.clear()` holds every answer back.

    `ending.clear()` holds back the end of answers in words, when all that they say has been sent.
    """

    def __init__(self, script: Script | None = None, port: int = 0) -> None:
        self.script = script or Script()
        self.calls: list[Call] = []
        self.embeddings: list[Embedding] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.ending = asyncio.Event()
        self.ending.set()
        self.pulled: list[str] = []
        self.listings = 0
        self.most_at_once = 0
        self._at_once = 0
        self._answers = Answers()
        self._socket = socket.create_server(("127.0.0.1", port))
        # asyncio sets it only on sockets of its own making; without it each answer waits 40 ms for an ACK.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = _Server(uvicorn.Config(self._app(), log_level="critical", lifespan="off"))

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.serve())
        while not self._server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.stopping.set()
        await self._running

    async def serve(self) -> None:
        """Serve until stopped."""
        await self._server.serve(sockets=[self._socket])

    def fail(
        self,
        kind: FaultKind,
        times: int = 1,
        *,
        asks: Asks | None = None,
        containing: str = "",
        when: Callable[[Call], bool] | None = None,
    ) -> None:
        """Let the next `times` matching calls go wrong."""
        self.script.faults.append(Fault(kind=kind, times=times, asks=asks, containing=containing, when=when))

    async def until(self, condition: Callable[[], bool], timeout_seconds: float = 30) -> None:
        """Wait until something is so, for example `lambda: len(fake.calls) == 2`."""
        async with asyncio.timeout(timeout_seconds):
            while not condition():  # noqa: ASYNC110 (a condition of the test's own, without an event)
                await asyncio.sleep(0.01)

    def _app(self) -> Starlette:
        routes = [
            Route("/", lambda _: Response("Ollama is running")),
            Route("/api/version", lambda _: JSONResponse({"version": "0.0.0-fake"})),
            Route("/api/tags", self._tags),
            Route("/api/ps", self._ps),
            Route("/api/show", self._show, methods=["POST"]),
            Route("/api/chat", self._chat, methods=["POST"]),
            Route("/api/pull", self._pull, methods=["POST"]),
            Route("/api/embed", self._embed, methods=["POST"]),
            Route("/delay", self._delay, methods=["PUT"]),
            Route("/calls", lambda _: JSONResponse([call.model_dump() for call in self.calls])),
        ]
        return Starlette(routes=routes)

    async def _tags(self, _: Request) -> Response:
        self.listings += 1
        await asyncio.sleep(self.script.listing.delay_seconds)
        if (instead := self.script.listing.instead()) is not None:
            return instead
        names = [*(self.script.models or ["qwen2.5:7b", "llama3.1:8b"]), *self.pulled]
        return JSONResponse({"models": [self.script.listing.model(name) for name in names]})

    async def _ps(self, _: Request) -> Response:
        habits = self.script.habits
        loaded = {
            call.model: min(habits.window or 1_000_000, call.options.get("num_ctx", 4096))
            for call in self.calls
        }
        if not habits.tells_window:
            return Response("404 page not found", status_code=404)
        told = [{"model": model, "context_length": window} for model, window in loaded.items()]
        return JSONResponse({"models": told})

    async def _show(self, request: Request) -> Response:
        model = (await request.json()).get("model", "")
        if not self._has(model):
            return not_pulled(model)
        return JSONResponse({"details": {}, "model_info": {}, "capabilities": ["completion"]})

    async def _delay(self, request: Request) -> Response:
        self.script.delay_seconds = await request.json()
        return JSONResponse(self.script.delay_seconds)

    async def _pull(self, request: Request) -> Response:
        model = (await request.json())["model"]
        return StreamingResponse(self._pulling(model), media_type="application/x-ndjson")

    async def _pulling(self, model: str) -> AsyncIterator[str]:
        """As Ollama tells it: HTTP 200 and, for a name it does not find, an error among the lines."""
        yield json.dumps({"status": "pulling manifest"}) + "\n"
        if model in self.script.unknown_models:
            yield json.dumps({"error": "pull model manifest: file does not exist"}) + "\n"
            return
        for completed in range(0, PULL_BYTES + 1, PULL_BYTES // 4):
            layer = {"status": "pulling 6a0746a1ec1a", "digest": "sha256:6a0746a1ec1a"}
            yield json.dumps({**layer, "total": PULL_BYTES, "completed": completed}) + "\n"
        self.pulled.append(model)
        yield json.dumps({"status": "success"}) + "\n"

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        call = read_call(body, request.headers.get("authorization", ""))
        self.calls.append(call)
        fault = next_fault(self.script.faults, call)
        refused = refusal(call, fault if self._has(call.model) else "not_pulled")
        if refused is None:
            refused = self.script.habits.refusal(body)
        if refused is not None:
            return refused
        if self.script.wire is not None:
            return Response(self.script.wire, media_type="application/x-ndjson")
        content = FAULTY_CONTENT.get(fault or "") or self._answers.content(call, self.script)
        lines = answer_lines(call, content, fault, self.script.habits)
        media_type = "application/x-ndjson" if call.stream else "application/json"
        return StreamingResponse(self._answer(call, lines, silent=fault == "slow"), media_type=media_type)

    async def _embed(self, request: Request) -> Response:
        body = await request.json()
        model, texts = body["model"], body["input"]
        texts = [texts] if isinstance(texts, str) else texts
        self.embeddings.append(Embedding(model=model, texts=texts))
        if not self._has(model):
            return not_pulled(model)
        if self.script.embedding_status != 200:
            return JSONResponse({"error": "cannot embed"}, status_code=self.script.embedding_status)
        return await embedded(self.script, model, texts)

    async def _answer(self, call: Call, lines: Iterator[dict[str, Any]], silent: bool) -> AsyncIterator[str]:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(self.script.delay_seconds)
            await (asyncio.Event() if silent else self.answering).wait()
            if call.stream:
                for line in lines:
                    if line.get("done") and call.asks == "text":
                        await self.ending.wait()
                    yield json.dumps(line, ensure_ascii=call.outcome != "line_ends") + "\n"
            else:
                *pieces, last = lines
                last["message"]["content"] = "".join(piece["message"]["content"] for piece in pieces)
                yield json.dumps(last)
            call.outcome = "answered" if call.outcome == "answering" else call.outcome
        except BaseException:
            call.outcome = "abandoned" if call.outcome == "answering" else call.outcome
            raise
        finally:
            self._at_once -= 1

    def _has(self, model: str) -> bool:
        return self.script.models is None or model in (*self.script.models, *self.pulled)


class _Server(uvicorn.Server):
    """Stops at once, where uvicorn takes two tenths of a second: hundreds of tests have such a server."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to the program around this server: pytest, or the process's default.
        yield

    async def main_loop(self) -> None:
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        answering = list(self.server_state.tasks)
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)


async def _main() -> None:
    parser = argparse.ArgumentParser(description="A scripted Ollama server.")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--delay", type=float, help="seconds before each answer")
    parser.add_argument("--script", type=Path, help="a JSON file with the fields of Script")
    options = parser.parse_args()
    script = Script()
    if options.script:
        script = Script.model_validate_json(options.script.read_bytes())
    if options.delay is not None:
        script.delay_seconds = options.delay
    fake = FakeOllama(script, options.port)
    print(json.dumps({"port": fake.port}), flush=True)
    await fake.serve()


if __name__ == "__main__":
    asyncio.run(_main())
