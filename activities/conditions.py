"""What beside the settings an argument rests on: the words of its prompts, the models, the program.

Nobody may take a change of these for an effect of the settings, so each argument is told them in twelve hex
digits. A model is what its server identifies it by, not its name alone. The server is asked once a minute,
while the model answers; one that does not tell keeps nobody waiting, and what it told before still holds.
"""

import asyncio
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from activities.model_server.client import NOT_OLLAMA, AddressBroken, AsyncClient, ResponseError, full_name
from activities.prompts import Prompts

ASK_AGAIN_AFTER_SECONDS = 60.0
TOLD_WITHIN_SECONDS = 8.0
# A server that is there lists its models in milliseconds, and it has a model call's time for that.
WAITED_FOR_SECONDS = 1.0
DIGEST_LENGTH = 12


@dataclass
class _Server:
    """One model server: its models' digests as far as it told them, and when it may be asked again."""

    digests: dict[str, str] = field(default_factory=dict)
    due: float = 0.0
    asking: asyncio.Task[None] | None = None


class Conditions:
    """The conditions that one worker process works under. `client`: how to ask the model server of a host."""

    def __init__(self, prompts: Prompts, version: str, client: Callable[[str], AsyncClient]) -> None:
        self._prompts = prompts
        self._version = version
        self._client = client
        self._servers: defaultdict[str, _Server] = defaultdict(_Server)

    def look(self, host: str) -> None:
        """Ask a host for the digests of its models, unless that was done a moment ago."""
        server = self._servers[host]
        if time.monotonic() >= server.due:
            server.due = time.monotonic() + ASK_AGAIN_AFTER_SECONDS
            server.asking = asyncio.create_task(self._ask(host, server))

    def digest(self, host: str, model: str) -> str:
        """The digest of a model as its server told it; nothing if it has not."""
        return self._servers[host].digests.get(full_name(model), "")

    async def under(self, host: str, models: Iterable[str]) -> str:
        """The digest of all that these models speak under, each by its name alone where no more is known."""
        self.look(host)
        if (asking := self._servers[host].asking) is not None:
            await asyncio.wait({asking}, timeout=WAITED_FOR_SECONDS)
        told = {full_name(model): self.digest(host, model) for model in models}
        rests_on = json.dumps([self._version, self._prompts.digest, told], sort_keys=True)
        return hashlib.sha256(rests_on.encode()).hexdigest()[:DIGEST_LENGTH]

    async def close(self) -> None:
        """Ask nobody any more; the worker has stopped."""
        asking = [server.asking for server in self._servers.values() if server.asking is not None]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(self, host: str, server: _Server) -> None:
        try:
            async with asyncio.timeout(TOLD_WITHIN_SECONDS):
                listed = (await self._client(host).list()).models
        except (*NOT_OLLAMA, AddressBroken, ResponseError):
            return
        finally:
            server.asking = None
        server.digests = {
            full_name(each.model): each.digest[:DIGEST_LENGTH]
            for each in listed
            if each.model and each.digest
        }
