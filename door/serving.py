"""The door as a server of its own in the worker's process, on a socket that is bound before all else."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import uvicorn
from temporalio.client import Client

from activities.personas import Personas
from configuration import Settings
from door.app import Door
from door.image import Image
from door.opening import token
from door.plain import Plain

CLOSE_WITHIN_SECONDS = 3
"""What a stream gets to end in; a worker's calls get 3 s after it."""


def before_image(
    client: Client,
    image_id: str,
    personas: Personas,
    settings: Settings,
    listening: socket.socket,
    *,
    cancels: bool,
) -> AbstractAsyncContextManager[asyncio.Future[None]]:
    """The door before one image, whose plain answers are those of this worker's personas."""
    image = Image(client, image_id)
    return serving(Door(image, Plain(personas, settings, image.settings), cancels=cancels), listening)


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
