"""The door as a server of its own in the worker's process, on a socket that is bound before all else."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import zip_longest

import uvicorn

from connection.problems import Problem
from door.app import Door
from door.guarding import TOKEN, is_here, token

DEFAULT_PORT = 7411
CLOSE_WITHIN_SECONDS = 3
"""What a stream gets to end in; a worker's calls get 3 s after it."""


def with_port(words: list[str]) -> list[str]:
    """A command line in which `--door` alone has its usual port: typer wants a value for every option."""
    return [
        f"--door={DEFAULT_PORT}" if word == "--door" and not following.isdigit() else word
        for word, following in zip_longest(words, words[1:], fillvalue="")
    ]


def open_socket(host: str, port: int) -> socket.socket:
    """Where the door listens; port 0: a free one. Raises Problem, too, where anybody could come in."""
    if not is_here(host) and not token():
        raise Problem(
            f"--door-host {host} is open to others than this machine; set {TOKEN}, which clients send as "
            "their API key, or leave the door on 127.0.0.1"
        )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Problem(
            f"The door cannot listen on {host}, port {port} ({reason}); choose another with --door PORT "
            "or --door-host"
        ) from None


def url_of(host: str, listening: socket.socket) -> str:
    """What a client is given as its base URL."""
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}:{listening.getsockname()[1]}/v1"


@asynccontextmanager
async def serving(door: Door, listening: socket.socket) -> AsyncIterator[asyncio.Future[None]]:
    """Serve while the block runs, and end what streams then. What is given ends before only in an error."""
    config = uvicorn.Config(
        door.app(token()),
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=CLOSE_WITHIN_SECONDS,
    )
    # asyncio sets it only on sockets of its own making; without it each answer waits 40 ms for an ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield asyncio.shield(running)  # whoever waits for it may be cancelled, and the server ends in order
    finally:
        server.should_exit = True
        # uvicorn would wait for streams to end, and they for their tasks.
        await door.close()
        await asyncio.gather(running, return_exceptions=True)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # Ctrl-C and SIGTERM are the worker's
