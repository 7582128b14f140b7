"""The heartbeats of an activity: the server learns by them that it is still at work."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from temporalio import activity

HEARTBEAT_SECONDS = 1.0
"""Well within any heartbeat timeout; the SDK passes on to the server only what the timeout needs."""


@asynccontextmanager
async def heartbeats(beat: Callable[[], None] = activity.heartbeat) -> AsyncIterator[None]:
    """Send heartbeats while the block runs. `beat` sends one."""

    async def send() -> None:
        while True:
            # Not at once: the start of the activity counts as one, and short calls need no other.
            await asyncio.sleep(HEARTBEAT_SECONDS)
            beat()

    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        sending.cancel()
