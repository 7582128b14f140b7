"""Which language model answers: an Ollama server that is there, or else a small embedded model of our own."""

import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from ollama import Client, ResponseError

from activities.personas import DEFAULT_HOST, NO_PROXY, ModelBackend
from configuration import ModelSettings
from runtime.child_process import ChildProcess
from runtime.embedded_model.weights import EMBEDDED_MODEL_NAME, ensure_weights
from runtime.problems import Problem

log = logging.getLogger(__name__)

# An Ollama that is there lists its models at once, whatever it computes meanwhile.
PROBE_SECONDS = 3


class NoModel(Problem):
    """No language model is there to answer."""


@dataclass(frozen=True)
class Choice:
    """Which backend to run: the embedded model from `gguf`, or none of ours because Ollama answers."""

    gguf: Path | None = None
    name: str = ""


def ollama_host(models: ModelSettings | None) -> str:
    return (models.host if models else "") or os.environ.get("OLLAMA_HOST") or DEFAULT_HOST


def pulled_models(host: str) -> set[str] | None:
    """The models that the Ollama server at `host` has, or None when none answers."""
    try:
        found = Client(host, timeout=PROBE_SECONDS, mounts=NO_PROXY).list().models
    except (ResponseError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        return None
    return {model.model for model in found if model.model}


def is_pulled(model: str, pulled: set[str]) -> bool:
    """Whether a model is among those: a name without a tag means the tag `latest`."""
    return not {model, f"{model}:latest"}.isdisjoint(pulled)


def choose(models: ModelSettings | None, *, may_embed: bool, gguf: Path | None = None) -> Choice:
    """Find the backend, fetching the weights of the embedded model if it comes to that: blocks.

    A `gguf` named by a person is taken without asking for Ollama. Raises NoModel, WeightsUnavailable.
    """
    if gguf is not None:
        if not gguf.is_file():
            raise NoModel(f"There is no model file {gguf}; correct --gguf")
        return Choice(gguf.absolute(), gguf.stem)
    host = ollama_host(models)
    pulled = pulled_models(host)
    if pulled is not None:
        _warn_of_missing(models, pulled, host)
        return Choice()
    if not may_embed:
        raise NoModel(
            f"No Ollama answers at {host}; start it with `ollama serve`, name another in [models] host or "
            "OLLAMA_HOST, or let `python worker.py --dev` bring a small embedded model"
        )
    return Choice(ensure_weights(), EMBEDDED_MODEL_NAME)


def _warn_of_missing(models: ModelSettings | None, pulled: set[str], host: str) -> None:
    if models is None:
        return
    wanted = dict.fromkeys((models.alfred, models.babs, models.brick, models.robin))
    for model in wanted:
        if not is_pulled(model, pulled):
            log.warning("Ollama at %s lacks a model; tasks fail until you `ollama pull %s`.", host, model)


@asynccontextmanager
async def run_model(choice: Choice, state_dir: Path) -> AsyncIterator[ModelBackend]:
    """The chosen backend while the context lasts. Raises ChildFailed."""
    if choice.gguf is None:
        yield ModelBackend(kind="ollama")
        return
    async with EmbeddedModel(choice.gguf, choice.name, state_dir) as model:
        yield ModelBackend(kind="embedded", host=model.host, model=choice.name)


class EmbeddedModel(ChildProcess):
    """The embedded model in its own process. Its port is found at the first start and kept from then on."""

    name = "embedded model"
    # 2 s on an idle machine, to read 1.1 GB; a busy machine with a slow disk needs far longer.
    ready_within_seconds = 180.0

    def __init__(self, gguf: Path, name: str, state_dir: Path) -> None:
        super().__init__(state_dir / "embedded-model.log")
        self._gguf = gguf
        self._model = name
        self._port = 0

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "runtime.embedded_model", "--exit-with-parent"),
            *("--gguf", str(self._gguf), "--name", self._model, "--port", str(self._port)),
        ]

    async def is_ready(self) -> bool:
        for line in self.output().splitlines():
            if line.startswith('{"port"'):
                self._port = json.loads(line)["port"]
                return True
        return False
