"""Which language model answers: an Ollama server that is there, or else a small embedded model of our own."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from activities.model_server.backend import ModelBackend
from activities.model_server.client import reach
from configuration import ModelSettings
from connection.model_server import NoModel, NoServer, is_pulled, pulled_models
from connection.places import PROJECT
from runtime.child_process import ChildProcess
from runtime.embedded_model.weights import EMBEDDED_MODEL_NAME, WeightsUnavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Which model to embed, if Ollama does not answer, and its file, if that is not the one of weights.py."""

    embedded: str = ""
    gguf: Path | None = None


@dataclass(frozen=True)
class RunningModel:
    """The backend, which may be asked once `loading` is done."""

    backend: ModelBackend
    loading: asyncio.Task[None] | None = None


def choose(models: Iterable[ModelSettings], *, may_embed: bool, gguf: Path | None = None) -> Choice:
    """Find the backend: blocks while it asks for Ollama, unless a person has named a `gguf`.

    `models`: those of each image. What answers and is no Ollama is not passed over: somebody meant it to be
    one. One server that answers is enough. Raises NoModel.
    """
    if gguf is not None:
        if not gguf.is_file():
            raise NoModel(f"There is no model file {gguf}; correct --gguf")
        return Choice(gguf.stem, gguf.absolute())
    needed: dict[str, dict[str, None]] = {}
    for each in models:
        needed.setdefault(reach(each.host), {}).update(dict.fromkeys(each.by_persona().values()))
    needed = needed or {reach(""): {}}
    faults = [fault for host, names in needed.items() if (fault := _fault_of(host, names))]
    if len(faults) < len(needed):
        for fault in faults:
            log.warning("%s; tasks fail for whom that is the model server.", fault)
        return Choice()
    if may_embed and all(isinstance(fault, NoServer) for fault in faults):
        return Choice(EMBEDDED_MODEL_NAME)
    raise next((fault for fault in faults if not isinstance(fault, NoServer)), faults[0])


def _fault_of(host: str, needed: Iterable[str]) -> NoModel | None:
    """Why no Ollama answers at a host, or nothing; a warning for each model that it lacks."""
    try:
        pulled = asyncio.run(pulled_models(host))
    except NoModel as fault:
        return fault
    for model in needed:
        if not is_pulled(model, pulled):
            log.warning("Ollama at %s lacks a model; tasks fail until you `ollama pull %s`.", host, model)
    return None


@asynccontextmanager
async def run_model(choice: Choice, state_dir: Path) -> AsyncIterator[RunningModel]:
    """The chosen backend, while it may be `loading` still. That raises WeightsUnavailable or ChildFailed."""
    if not choice.embedded:
        yield RunningModel(ModelBackend(kind="ollama"))
        return
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])  # known before the model is loaded
    async with AsyncExitStack() as stack:

        async def load() -> None:
            gguf = choice.gguf or await _fetched_weights()
            await stack.enter_async_context(EmbeddedModel(gguf, choice.embedded, port, state_dir))
            log.info("The embedded model is loaded.")

        loading = asyncio.create_task(load())
        stack.push_async_callback(_end, loading)
        backend = ModelBackend(kind="embedded", host=f"http://127.0.0.1:{port}", model=choice.embedded)
        yield RunningModel(backend, loading)


async def _fetched_weights() -> Path:
    """The path of the weights. In a process of its own, which can be stopped in the middle of a download."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runtime.embedded_model.weights"),
        cwd=PROJECT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        said, _ = await process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()
        raise
    if process.returncode:
        raise WeightsUnavailable(said.decode().strip() or "The embedded model could not be fetched")
    return Path(said.decode().strip())


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class EmbeddedModel(ChildProcess):
    """The embedded model in its own process, on a port of its own."""

    name = "embedded model"
    # 2 s on an idle machine, to read 1.1 GB; a busy machine with a slow disk needs far longer.
    ready_within_seconds = 180.0

    def __init__(self, gguf: Path, name: str, port: int, state_dir: Path) -> None:
        super().__init__(state_dir / "embedded-model.log")
        self._gguf = gguf
        self._model = name
        self._port = port

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "runtime.embedded_model", "--exit-with-parent"),
            *("--gguf", str(self._gguf), "--name", self._model, "--port", str(self._port)),
        ]

    async def is_ready(self) -> bool:
        return any(line.startswith('{"port"') for line in self.output().splitlines())
