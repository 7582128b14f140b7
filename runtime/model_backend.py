"""Which language model answers: an Ollama server that is there, or else a small embedded model of our own."""

import asyncio
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from activities.model_server.backend import ModelBackend
from activities.model_server.client import (
    CONNECT_SECONDS,
    NOT_OLLAMA,
    AddressBroken,
    ResponseError,
    full_name,
    model_client,
    named_by,
    proxy_for,
    reach,
)
from configuration import ModelSettings
from connection.places import PROJECT
from connection.problems import Problem
from messages.common import excerpt
from runtime.child_process import ChildProcess
from runtime.embedded_model.weights import EMBEDDED_MODEL_NAME, WeightsUnavailable

log = logging.getLogger(__name__)

# An Ollama that is there lists its models at once, whatever it computes meanwhile. A busy machine may not.
PROBE_SECONDS = 8


class NoModel(Problem):
    """No language model is there to answer."""


class NoServer(NoModel):
    """The machine is there and refuses the connection: no model server runs on it."""


@dataclass(frozen=True)
class Choice:
    """Which backend to run: none of ours, because Ollama answers, or the embedded model of this name.

    `gguf`: the model file that a person has named; otherwise it is the weights of weights.py.
    """

    embedded: str = ""
    gguf: Path | None = None


@dataclass(frozen=True)
class RunningModel:
    """The backend, which may be asked once `loading` is done."""

    backend: ModelBackend
    loading: asyncio.Task[None] | None = None


async def pulled_models(host: str) -> set[str]:
    """The models that the Ollama server at `host` has.

    Raises NoServer if the connection is refused, NoModel for what does not answer, is no Ollama or is faulty.
    """
    try:
        async with (
            asyncio.timeout(CONNECT_SECONDS + PROBE_SECONDS),
            model_client(host, PROBE_SECONDS) as client,
        ):
            found = (await client.list()).models
    except (ConnectionError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise _not_connected(host, error) from None
    except (TimeoutError, httpx.TimeoutException):
        raise NoModel(
            f"The server at {host} did not list its models within {PROBE_SECONDS} s; see its log, "
            f"start again once it answers, or correct {named_by(host)}"
        ) from None
    except AddressBroken as error:
        raise NoModel(str(error)) from None
    except ResponseError as error:
        raise NoModel(_refusal(host, error)) from None
    except NOT_OLLAMA:
        raise NoModel(_no_ollama(host, "no list of models")) from None
    return {model.model for model in found if model.model}


def _not_connected(host: str, error: BaseException) -> NoModel:
    """What it means that there was no connection, from the errors below the one that the client raises."""
    if proxy := proxy_for(host):
        return NoModel(
            f"{host} cannot be reached through the proxy that {proxy} names; correct {proxy}, or write the "
            "host into NO_PROXY to ask it directly"
        )
    causes = list(_with_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return NoModel(
                f"{host} cannot be trusted ({excerpt(cause.reason or str(cause))}); "
                f"correct {named_by(host)}, or name its certificate authority's file in SSL_CERT_FILE"
            )
        if isinstance(cause, socket.gaierror):
            return NoModel(f"Nobody knows the host of {host} ({cause.strerror}); correct {named_by(host)}")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return NoServer(
            f"No Ollama answers at {host}; start it with `ollama serve`, name another in [models] host or "
            "OLLAMA_HOST, or let `python worker.py --dev` bring a small embedded model"
        )
    said = (cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror)
    reason = next(said, f"no answer within {CONNECT_SECONDS} s")
    return NoModel(
        f"{host} cannot be reached ({reason}); see whether its machine runs and lets this one in, "
        f"or correct {named_by(host)}"
    )


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that are behind it: a host with several addresses has an error for each."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _with_causes(each)
        error = error.__cause__ or error.__context__


def _refusal(host: str, error: ResponseError) -> str:
    said = f"{error.status_code}: {excerpt(str(error.error))}"
    if error.status_code in (401, 403, 407):
        return (
            f"What answers at {host} wants a key or lets nobody in ({said}); set OLLAMA_API_KEY to its key, "
            f"or correct {named_by(host)}"
        )
    if error.status_code >= 500 or error.status_code == 429:
        return (
            f"The server at {host} answers with an error ({said}); see its log, or that of the proxy "
            f"in front of it, or correct {named_by(host)}"
        )
    return _no_ollama(host, said)


def _no_ollama(host: str, said: str) -> str:
    return f"What answers at {host} does not speak the Ollama API ({said}); correct {named_by(host)}"


def is_pulled(model: str, pulled: set[str]) -> bool:
    """Whether a model is among those, by the names as Ollama compares them."""
    return full_name(model) in map(full_name, pulled)


def choose(models: ModelSettings | None, *, may_embed: bool, gguf: Path | None = None) -> Choice:
    """Find the backend: blocks while it asks for Ollama.

    A `gguf` named by a person is taken without asking. What answers and is no Ollama is not passed over:
    somebody meant it to be one. Raises NoModel.
    """
    if gguf is not None:
        if not gguf.is_file():
            raise NoModel(f"There is no model file {gguf}; correct --gguf")
        return Choice(gguf.stem, gguf.absolute())
    host = reach(models.host if models else "")
    try:
        pulled = asyncio.run(pulled_models(host))
    except NoServer:
        if not may_embed:
            raise
        return Choice(EMBEDDED_MODEL_NAME)
    _warn_of_missing(models, pulled, host)
    return Choice()


def _warn_of_missing(models: ModelSettings | None, pulled: set[str], host: str) -> None:
    if models is None:
        return
    for model in dict.fromkeys(models.by_persona().values()):
        if not is_pulled(model, pulled):
            log.warning("Ollama at %s lacks a model; tasks fail until you `ollama pull %s`.", host, model)


@asynccontextmanager
async def run_model(choice: Choice, state_dir: Path) -> AsyncIterator[RunningModel]:
    """The chosen backend while the context lasts; the embedded model is fetched and loaded meanwhile.

    `loading` raises WeightsUnavailable or ChildFailed.
    """
    if not choice.embedded:
        yield RunningModel(ModelBackend(kind="ollama"))
        return
    port = _free_port()
    async with AsyncExitStack() as stack:

        async def load() -> None:
            gguf = choice.gguf or await _fetched_weights()
            await stack.enter_async_context(EmbeddedModel(gguf, choice.embedded, port, state_dir))
            log.info("The embedded model is loaded.")

        loading = asyncio.create_task(load())
        stack.push_async_callback(_end, loading)
        backend = ModelBackend(kind="embedded", host=f"http://127.0.0.1:{port}", model=choice.embedded)
        yield RunningModel(backend, loading)


def _free_port() -> int:
    """A port for the embedded model, known before it is loaded."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


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
