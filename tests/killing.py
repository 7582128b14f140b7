"""An image whose worker is a process of its own, to be killed."""

import asyncio
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from temporalio.client import Client, Interceptor, OutboundInterceptor, QueryWorkflowInput
from temporalio.service import RPCError

from configuration import Value
from connection.plain_words import NOBODY_ANSWERS, TASK_FAILS
from testbed.fake_ollama import FakeOllama
from testbed.forked import Forked
from testbed.processes import ROOT
from testbed.world import Image


class Killed(Image):
    def __init__(
        self, client: Client, ollama: FakeOllama, folder: Path, settings: Mapping[str, Value] | None = None
    ) -> None:
        super().__init__(asking_again(client), ollama.url, folder, settings)
        self.ollama = ollama

    @contextmanager
    def process(self) -> Iterator[Forked]:
        """`python worker.py` beside the server; it is not waited for."""
        environment = {**os.environ, "TEMPORAL_ADDRESS": self.address}
        with TemporaryDirectory() as said:
            out, err = Path(said) / "out", Path(said) / "err"
            arguments = ("--settings", str(self.file))
            process = Forked(ROOT / "worker.py", arguments, self.file.parent, environment, out=out, err=err)
            try:
                yield process
            finally:
                process.kill()


def asking_again(client: Client) -> Client:
    """The same client, whose questions wait for a worker however long that takes to start.

    The server gives up on a question after a while, and on one that a killed worker had. Tasks that killed
    workers had count as failed, too: only one that goes on to fail is told.
    """
    config = client.config()
    config["interceptors"] = [*config["interceptors"], _Patient()]
    return Client(**config)


class _Patient(Interceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Asking(next)


class _Asking(OutboundInterceptor):
    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        fails_until = time.monotonic() + 30
        while True:
            try:
                return await super().query_workflow(input)
            except RPCError as error:
                fails = TASK_FAILS in error.message and time.monotonic() > fails_until
                if error.status not in NOBODY_ANSWERS or fails:
                    raise
            await asyncio.sleep(0.1)
