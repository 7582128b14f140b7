"""An image whose worker is a process of its own, to be killed."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from temporalio.client import Client

from configuration import Value
from testbed.fake_ollama import FakeOllama
from testbed.forked import Forked
from testbed.processes import ROOT
from testbed.world import Image


class Killed(Image):
    def __init__(
        self, client: Client, ollama: FakeOllama, folder: Path, settings: Mapping[str, Value] | None = None
    ) -> None:
        super().__init__(client, ollama.url, folder, settings)
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
