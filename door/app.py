"""What the door serves: the list of models, chat completions, and settings for programs that it tunes."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from connection import tracing
from door.answers import End, Event, chunks, completion, models
from door.conversation import task_of
from door.guarding import MOST_AT_ONCE, Guard
from door.image import Image, Looking, View
from door.leaving import Leaving
from door.plain import Plain
from door.refusals import Refusal
from door.requests import Asked, read_model, read_request
from door.telling import Told
from door.watching import Watches
from messages.requests import AssignSettings
from messages.tasks import Assignment, LogReceipt, PerformanceLog

log = logging.getLogger(__name__)

BODY_BYTES = 1_000_000
BODY_SECONDS = 30.0
"""How long a request may take to arrive."""
SEND_SECONDS = 60.0
"""How long a client may leave what it is sent unread."""
KEEP_ALIVE_SECONDS = 15.0


class Door:
    """The handlers of a door's requests. `close` ends what is under way.

    `cancels`: a task is cancelled once all its clients have gone.
    """

    def __init__(
        self,
        image: Image,
        plain: Plain,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
        most_at_once: int = MOST_AT_ONCE,
        cancels: bool = False,
    ) -> None:
        self._image = image
        self._plain = plain
        self._keep_alive_seconds = keep_alive_seconds
        self._most_at_once = most_at_once
        leaving = Leaving(image) if cancels else None
        self._watches = Watches(lambda task_id: Looking(image, task_id).look, leaving)
        self._created = int(time.time())

    def app(self, token: str) -> ASGIApp:
        app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/models/{name}", self._model),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                # What is no part of OpenAI's API: for programs that have the image tune them.
                Route("/v1/assign", self._assign, methods=["POST"]),
                Route("/v1/performance", self._performance, methods=["POST"]),
            ],
            exception_handlers={Refusal: _refused, HTTPException: _not_served, Exception: _broken},
        )
        return Guard(app, token, self._most_at_once)

    async def close(self) -> None:
        self._plain.close()
        await self._watches.close()

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": models(self._image.image_id, self._created)})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        for model in models(self._image.image_id, self._created):
            if model["id"] == name:
                return JSONResponse(model)
        raise Refusal(404, "there is no such model here; see /v1/models", "model_not_found", "model")

    async def _assign(self, request: Request) -> Response:
        asked = read_model(AssignSettings, await _body_of(request))
        return JSONResponse((await self._image.tell("assign", asked, Assignment)).model_dump(mode="json"))

    async def _performance(self, request: Request) -> Response:
        log = read_model(PerformanceLog, await _body_of(request))
        receipt = await self._image.tell("record_performance", log, LogReceipt)
        return JSONResponse(receipt.model_dump(mode="json"))

    async def _chat(self, request: Request) -> Response:
        asked = read_request(await _body_of(request), request.headers, self._image.image_id)
        if asked.plain:
            name, events = f"chatcmpl-{uuid4().hex}", self._plain.answer(asked.messages, asked.streams)
        else:
            caller = request.headers.get("traceparent", "")
            with tracing.span("POST /v1/chat/completions", caller):
                task_id = await self._image.hand_in(asked.key, task_of(asked.messages))
            name, events = f"chatcmpl-{task_id}", self._argument(task_id, asked)
        if not asked.streams:
            return JSONResponse(await _while_there(request, completion(asked, name, events)))
        return EventSourceResponse(
            chunks(asked, name, events), sep="\n", ping=self._keep_alive_seconds, send_timeout=SEND_SECONDS
        )

    async def _argument(self, task_id: str, asked: Asked) -> AsyncGenerator[Event]:
        """What is said in a task, as it comes if it streams; else once it is over. Raises Refusal."""
        told, view = Told(task_id), View()
        with self._watches.of(task_id) as watch:
            async with aclosing(watch.views()) as views:
                async for view in views:
                    if asked.streams or view.is_over:
                        for delta in told.news(view):
                            yield delta
        if view.failure:
            raise view.failure
        assert view.result is not None
        yield End.of(view.result)


async def _body_of(request: Request) -> bytes:
    """All of a request's body. Raises Refusal."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > BODY_BYTES:
                    raise Refusal(413, f"a request is at most {BODY_BYTES} bytes long", "request_too_large")
    except TimeoutError:
        raise Refusal(408, f"the request did not arrive within {BODY_SECONDS:g} s", "too_slow") from None
    except ClientDisconnect:
        raise _gone() from None
    return bytes(body)


async def _while_there(request: Request, answer: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """The answer, unless the client goes first: nothing waits for nobody. Raises Refusal."""

    async def disconnect() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answering, going = asyncio.create_task(answer), asyncio.create_task(disconnect())
    try:
        await asyncio.wait({answering, going}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise _gone()
        return await answering
    finally:
        answering.cancel()
        going.cancel()


def _gone() -> Refusal:
    """nginx's number; nobody is left to read it."""
    return Refusal(499, "the client has gone", "client_gone")


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return refusal.response()


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail.lower()}; see /v1/models"
    return Refusal(error.status_code, message, "not_served", headers=error.headers).response()


async def _broken(_: Request, error: Exception) -> Response:
    log.error("A request at the door failed", exc_info=error)
    return Refusal(500, "the door failed; see its log", "internal").response()
