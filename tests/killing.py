"""An image whose worker is a process of its own, to be killed."""

import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from temporalio.client import Client

from configuration import Value
from testbed.fake_ollama import FakeOllama
from testbed.processes import worker_process
from testbed.world import Image


class Killed(Image):
    def __init__(
        self, client: Client, ollama: FakeOllama, folder: Path, settings: Mapping[str, Value] | None = None
    ) -> None:
        super().__init__(client, ollama.url, folder, settings)
        self.ollama = ollama

    def process(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return worker_process(self.file, self.address)
