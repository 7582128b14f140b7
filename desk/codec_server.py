"""Temporal's codec server protocol: what is encrypted, readable for a Web UI and `temporal`."""

import os
import socket
from urllib.parse import urlsplit

import uvicorn
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payloads

from connection.callers import BearerToken, is_here
from connection.codec import Codec, Sealed
from connection.problems import Problem

TOKEN = "LIVING_IMAGE_CODEC_TOKEN"
MOST_BYTES = 64 << 20
HEADERS = ("content-type", "x-namespace", "authorization")


class CodecServer:
    """Answers `/encode` and `/decode`, whatever stands before that; of all pages those of `web_ui` alone."""

    def __init__(self, codec: Codec, web_ui: str) -> None:
        self._codec = codec
        self._origins = origins_of(web_ui)
        token = os.environ.get(TOKEN, "").strip()
        self._token = BearerToken(token) if token else None

    def app(self) -> Starlette:
        may_ask = Middleware(
            CORSMiddleware, allow_origins=self._origins, allow_methods=["POST"], allow_headers=HEADERS
        )
        # The protocol wants the end of the path looked at alone: a namespace may stand before it.
        routes = [Route("/{path:path}", self._answer, methods=["POST"])]
        return Starlette(routes=routes, middleware=[may_ask])

    async def _answer(self, request: Request) -> Response:
        # Every browser tells whose page it is that asks; without the refusal others could still have encoded.
        if (origin := request.headers.get("origin")) is not None and origin not in self._origins:
            return PlainTextResponse("This is for the pages of another address", 403)
        if self._token and not self._token.is_in(request.headers.get("authorization", "")):
            wanted = {"WWW-Authenticate": "Bearer"}
            return PlainTextResponse(f"This wants the token of {TOKEN}", 401, headers=wanted)
        work = {"encode": self._codec.encode_wrapper, "decode": self._codec.decode_wrapper}.get(
            request.path_params["path"].rpartition("/")[2]
        )
        if work is None:
            return PlainTextResponse("There are /encode and /decode", 404)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                return PlainTextResponse(f"More than {MOST_BYTES >> 20} MiB", 413)
        try:
            payloads = Parse(bytes(body), Payloads(), ignore_unknown_fields=True)
            await work(payloads)
        except (ParseError, UnicodeDecodeError, Sealed) as fault:
            return PlainTextResponse(str(fault), 400)
        return Response(MessageToJson(payloads, indent=None), media_type="application/json")


def origins_of(web_ui: str) -> list[str]:
    """The origins of a Web UI's pages; on this machine it has two names. Raises Problem."""
    try:
        scheme, host, port = (parts := urlsplit(web_ui)).scheme, parts.hostname or "", parts.port
    except ValueError:
        scheme = host = ""
    if scheme not in ("http", "https") or not host:
        raise Problem(f"{web_ui!r} is no address of a Web UI; name it like http://127.0.0.1:8233")
    names = ["127.0.0.1", "localhost"] if is_here(host) and ":" not in host else [host]
    return [
        f"{scheme}://{f'[{name}]' if ':' in name else name}{f':{port}' if port else ''}" for name in names
    ]


def listen(host: str, port: int) -> socket.socket:
    """Where it listens; port 0: a free one. Raises Problem, too, where anybody could come in."""
    if not is_here(host) and not os.environ.get(TOKEN, "").strip():
        raise Problem(
            f"--host {host} is open to others than this machine; set {TOKEN}, which they have to send"
        )
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Problem(
            f"{host}, port {port}, cannot be listened on ({reason}); choose another --port"
        ) from None


async def serve(app: Starlette, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    config = uvicorn.Config(
        app, lifespan="off", ws="none", log_config=None, access_log=False, server_header=False
    )
    await uvicorn.Server(config).serve(sockets=[listening])
