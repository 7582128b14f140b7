"""A scripted Ollama server, for tests and benchmarks: real HTTP, no model.

In a test: `async with FakeOllama(Script(labels=["unrelated", "partly_different"])) as fake: ... fake.url`.
As a process: `python -m tests.fake_ollama --port 0`, which prints {"port": N} and lists its calls at /calls.

The same question gets the same answer, as from a model at temperature 0: a call that is repeated after
a crash does not move the script on. Faults are not remembered.
"""

import argparse
import asyncio
import hashlib
import json
import math
import re
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import uvicorn
from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.model_habits import Habits, Listing

Asks = Literal["plan", "dissonance", "goals", "scores", "text"]

FaultKind = Literal[
    "not_pulled",  # 404
    "refused",  # 400
    "server_error",  # 500
    "error_midway",  # an error line in the middle of the stream
    "drop",  # the connection breaks in the middle of the answer
    "no_end",  # the stream ends without its last line
    "cut_off",  # done_reason "length"
    "too_long",  # an answer of 20 kB
    "empty",  # nothing but white space
    "not_json",  # prose where JSON was asked for, and not a line of NDJSON is wrong
    "unknown_label",  # JSON with a label outside the set
    "not_ollama",  # 200 and a web page
    "surrogate",  # half of a character, as JSON may escape it
    "line_ends",  # characters that end a line for some readers, and not for JSON
    "slow",  # silence until the client goes away
]

EmbeddingFault = Literal[
    "400",
    "500",
    "nan",  # 200, and a vector that is none
    "short",  # 200, and a vector of another dimension
    "slow",  # an answer after some seconds
]
SLOW_SECONDS = 2.0

PULL_BYTES = 4_000_000
"""The size of every model that is pulled."""


class Call(BaseModel):
    """One request to /api/chat. `outcome`: answering, answered, abandoned (by the client) or the fault."""

    asks: Asks
    model: str
    system: str
    user: str
    stream: bool
    options: dict[str, Any]
    think: bool | None = None
    scores: int = 0
    outcome: str = "answering"


class Embedding(BaseModel):
    """One request to /api/embed."""

    model: str
    texts: list[str]


class Fault(BaseModel):
    """What goes wrong for the next `times` calls that match all that is given."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    times: int = 1
    asks: Asks | None = None
    containing: str = ""
    when: Callable[[Call], bool] | None = Field(default=None, exclude=True)

    def matches(self, call: Call) -> bool:
        return (
            self.times > 0
            and self.asks in (None, call.asks)
            and self.containing in call.system + call.user
            and (self.when is None or self.when(call))
        )


class Script(BaseModel):
    """How the server behaves.

    `labels` go round and round. As a dict, each task has its own: the key is its text, or a part of it.
    `goals` are imagined one after the other, two a call; `scores` are given to them by their text, as a list
    by their place.
    `says`: the whole answer to what is asked, instead of any other.
    `models` are those that are pulled; None: every model is. `unknown_models` cannot be pulled.
    `embedding_status`: all but 200 are errors.
    `embedding_faults`: what happens to requests with a text that contains the key. Texts longer than
    `longest_embedded` characters are refused, and requests with more than `most_embedded_at_once`.
    Embeddings are bags of words in `dimension` numbers: texts that share no word are at right angles.
    """

    model_config = ConfigDict(extra="forbid")

    labels: list[str] | dict[str, list[str]] = ["partly_different"]
    needs_research: bool = False
    goals: list[str] = []
    scores: dict[str, str] | list[str] = {}
    says: dict[Asks, str] = {}
    habits: Habits = Habits()
    listing: Listing = Listing()
    delay_seconds: float = 0.0
    faults: list[Fault] = []
    models: list[str] | None = None
    unknown_models: list[str] = []
    embedding_status: int = 200
    embedding_faults: dict[str, EmbeddingFault] = {}
    longest_embedded: int | None = None
    most_embedded_at_once: int | None = None
    dimension: int = 512


class FakeOllama:
    """The server. `script` may be changed while it runs; `answering.clear()` holds every answer back."""

    def __init__(self, script: Script | None = None, port: int = 0) -> None:
        self.script = script or Script()
        self.calls: list[Call] = []
        self.embeddings: list[Embedding] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.pulled: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._given: dict[str, str] = {}
        self._labels_given: dict[str, int] = {}
        self._goals_given = 0
        self._socket = socket.create_server(("127.0.0.1", port))
        # asyncio sets it only on sockets of its own making; without it each answer waits 40 ms for an ACK.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = _Server(
            uvicorn.Config(self._app(), log_level="critical", lifespan="off", timeout_graceful_shutdown=0)
        )

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.serve())
        while not self._server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
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
            Route("/calls", lambda _: JSONResponse([call.model_dump() for call in self.calls])),
        ]
        return Starlette(routes=routes)

    async def _tags(self, _: Request) -> Response:
        await asyncio.sleep(self.script.listing.delay_seconds)
        if (instead := self.script.listing.instead()) is not None:
            return instead
        names = [*(self.script.models or ["qwen2.5:7b", "llama3.1:8b"]), *self.pulled]
        return JSONResponse({"models": [{"name": name, "model": name, "size": 0} for name in names]})

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
            return _not_pulled(model)
        return JSONResponse({"details": {}, "model_info": {}, "capabilities": ["completion"]})

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
        call = _read(body)
        self.calls.append(call)
        fault = self._fault(call)
        refusal = _refuse(call, fault if self._has(call.model) else "not_pulled")
        if refusal is None:
            refusal = self.script.habits.refusal(body)
        if refusal is not None:
            return refusal
        content = _FAULTY_CONTENT.get(fault or "") or self._content(call)
        lines = _lines(call, content, fault, self.script.habits)
        media_type = "application/x-ndjson" if call.stream else "application/json"
        return StreamingResponse(self._answer(call, lines, silent=fault == "slow"), media_type=media_type)

    async def _embed(self, request: Request) -> Response:
        body = await request.json()
        model, texts = body["model"], body["input"]
        texts = [texts] if isinstance(texts, str) else texts
        self.embeddings.append(Embedding(model=model, texts=texts))
        if not self._has(model):
            return _not_pulled(model)
        if self.script.embedding_status != 200:
            return JSONResponse({"error": "cannot embed"}, status_code=self.script.embedding_status)
        return await self._embedded(model, texts)

    async def _embedded(self, model: str, texts: list[str]) -> Response:
        vectors = [_bag_of_words(text, self.script.dimension) for text in texts]
        longest = self.script.longest_embedded
        if longest is not None and any(len(text) > longest for text in texts):
            return JSONResponse({"error": "the input length exceeds the context length"}, status_code=400)
        most = self.script.most_embedded_at_once
        if most is not None and len(texts) > most:
            return JSONResponse({"error": "too many inputs"}, status_code=400)
        for part, fault in self.script.embedding_faults.items():
            faulty = [place for place, text in enumerate(texts) if part in text]
            if faulty and fault in ("400", "500"):
                return JSONResponse({"error": "cannot embed this"}, status_code=int(fault))
            if faulty and fault == "slow":
                await asyncio.sleep(SLOW_SECONDS)
            for place in faulty:
                if fault == "nan":
                    vectors[place] = [math.nan] * self.script.dimension
                elif fault == "short":
                    vectors[place] = vectors[place][1:]
        # Not a JSONResponse: like some servers, it says NaN where there is none in JSON.
        answer = json.dumps({"model": model, "embeddings": vectors})
        return Response(answer, media_type="application/json")

    async def _answer(self, call: Call, lines: Iterator[dict[str, Any]], silent: bool) -> AsyncIterator[str]:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(self.script.delay_seconds)
            await (asyncio.Event() if silent else self.answering).wait()
            if call.stream:
                for line in lines:
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

    def _fault(self, call: Call) -> FaultKind | None:
        for fault in self.script.faults:
            if fault.matches(call):
                fault.times -= 1
                if fault.kind != "slow":
                    call.outcome = fault.kind
                return fault.kind
        return None

    def _content(self, call: Call) -> str:
        question = json.dumps([call.model, call.system, call.user])
        if question not in self._given:
            self._given[question] = self._new_content(call)
        return self._given[question]

    def _new_content(self, call: Call) -> str:
        said = self.script.says.get(call.asks) or self._scripted(call)
        return said if call.asks == "text" else self.script.habits.around.replace("ANSWER", said)

    def _scripted(self, call: Call) -> str:
        count = len(self._given) + 1
        if call.asks == "plan":
            plan = f"Plan {count}: weigh the reasons, then decide."
            return json.dumps({"plan": plan, "needs_research": self.script.needs_research})
        if call.asks == "goals":
            goals = [self._next_goal(count, place) for place in (1, 2)]
            return json.dumps({"goals": [{"goal": goal, "why": "Nobody asked it yet."} for goal in goals]})
        if call.asks == "scores":
            asked = re.findall(r"^\d+\. (.*)$", call.user, re.MULTILINE)[: call.scores]
            scores = self.script.scores
            if isinstance(scores, dict):
                return json.dumps({"scores": [scores.get(goal, "fair") for goal in asked]})
            return json.dumps({"scores": scores[: len(asked)]})
        if call.asks == "dissonance":
            return json.dumps({"label": self._next_label(call)})
        return f"This is answer {count}, and it is a short one."

    def _next_goal(self, count: int, place: int) -> str:
        self._goals_given += 1
        if self.script.goals:
            return self.script.goals[(self._goals_given - 1) % len(self.script.goals)]
        return " ".join(hashlib.sha256(f"{count} {place} {word}".encode()).hexdigest()[:9] for word in "abc")

    def _next_label(self, call: Call) -> str:
        labels = self.script.labels
        task = ""
        if isinstance(labels, dict):
            task = next(task for task in labels if task in call.user)
            labels = labels[task]
        given = self._labels_given.get(task, 0)
        self._labels_given[task] = given + 1
        return labels[given % len(labels)]


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to the program around this server: pytest, or the process's default.
        yield


_FAULTY_CONTENT = {
    "empty": " \n ",
    "not_json": "I would rather say it in my own words.",
    "unknown_label": '{"label": "somewhat"}',
    "too_long": "word " * 4_000,
    "surrogate": '{"plan": "Half a \ud83d face.", "needs_research": false}',
    "line_ends": "One\u2028two\x85three four.",
}


def _read(body: dict[str, Any]) -> Call:
    said = {message["role"]: message["content"] for message in body["messages"]}
    form = (body.get("format") or {}).get("properties", {})
    told_by: dict[str, Asks] = {
        "label": "dissonance",
        "needs_research": "plan",
        "goals": "goals",
        "scores": "scores",
    }
    asks: Asks = next((asks for key, asks in told_by.items() if key in form), "text")
    return Call(
        asks=asks,
        model=body["model"],
        system=said.get("system", ""),
        user=said.get("user", ""),
        stream=body.get("stream", True),
        options=body.get("options") or {},
        think=body.get("think"),
        scores=form.get("scores", {}).get("minItems", 0),
    )


def _bag_of_words(text: str, dimension: int) -> list[float]:
    vector = [0.0] * dimension
    for word in re.findall(r"\w{4,}", text.lower()):
        vector[zlib.crc32(word.encode()) % dimension] += 1.0
    vector[-1] += 0.01  # no text is the zero vector
    return vector


def _not_pulled(model: str) -> Response:
    return JSONResponse({"error": f"model '{model}' not found"}, status_code=404)


def _refuse(call: Call, fault: FaultKind | None) -> Response | None:
    match fault:
        case "not_pulled":
            return _not_pulled(call.model)
        case "refused":
            return JSONResponse({"error": "invalid options"}, status_code=400)
        case "server_error":
            return JSONResponse({"error": "llama runner process has terminated"}, status_code=500)
        case "not_ollama":
            return Response("<html>It works!</html>", media_type="text/html")
    return None


def _lines(call: Call, content: str, fault: FaultKind | None, habits: Habits) -> Iterator[dict[str, Any]]:
    pieces: list[dict[str, str]] = list(habits.thinking())
    if habits.thinks != "unclosed":
        pieces += [{"content": piece} for piece in re.findall(r"\s*\S+\s*|\s+", content)]
    # A thinking model spends its tokens on that; the others are taken to keep to the limit by themselves.
    limit = call.options.get("num_predict", len(pieces)) if habits.thinks != "no" else len(pieces)
    cut_off = fault == "cut_off" or len(pieces) > limit
    start = {"model": call.model, "created_at": "2025-01-01T00:00:00Z"}
    for count, piece in enumerate(pieces[:limit]):
        if fault == "drop" and count:
            raise ConnectionResetError("as the script says")
        if fault == "error_midway" and count:
            yield {"error": "an error was encountered while running the model"}
            return
        yield {**start, "message": {"role": "assistant", **piece}, "done": False}
    if fault == "no_end":
        return
    yield {
        **start,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "length" if cut_off else "stop",
        "total_duration": 1_000_000,
        "prompt_eval_count": habits.tokens_read(call.system + call.user, call.options),
        "eval_count": min(len(pieces), limit),
    }


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
