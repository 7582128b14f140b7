"""Which server counts as Ollama, which as none, and which ends the start: over real HTTP."""

import asyncio
import errno
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from activities.model_server.client import CONNECT_SECONDS
from connection.model_server import NoModel, NoServer, is_pulled, pulled_models
from testbed.fake_ollama import FakeOllama
from testbed.model_habits import Listing
from testbed.ports import free_port
from testbed.world import shipped_settings
from tests.desk.command_line import Starter
from tests.runtime.worker_process import WorkerProcess

WRONG = [
    (Listing(status=401), "wants a key or lets nobody in (401: as scripted); set OLLAMA_API_KEY"),
    (
        Listing(status=403, body="<h1>Forbidden</h1>"),
        "wants a key or lets nobody in (403: <h1>Forbidden</h1>)",
    ),
    (Listing(status=502, body="<h1>Bad Gateway</h1>"), "answers with an error (502: <h1>Bad Gateway</h1>)"),
    (Listing(status=404), "does not speak the Ollama API (404: as scripted)"),
    (Listing(body="<html>It works!</html>"), "does not speak the Ollama API (no list of models)"),
    (Listing(body='{"models": 7}'), "does not speak the Ollama API (no list of models)"),
    (Listing(body="[" * 100_000), "does not speak the Ollama API (no list of models)"),
    (Listing(delay_seconds=60), "did not list its models within 8 s"),
]


@pytest.mark.parametrize(("listing", "said"), WRONG)
async def test_a_server_that_is_there_and_wrong_is_not_taken_for_none(
    ollama: FakeOllama, listing: Listing, said: str
) -> None:
    ollama.script.listing = listing
    with pytest.raises(NoModel) as raised:
        await pulled_models(ollama.url)
    assert not isinstance(raised.value, NoServer)
    assert said in str(raised.value)
    assert ollama.url in str(raised.value)
    assert "correct [models] host" in str(raised.value)


@asynccontextmanager
async def says(first: bytes) -> AsyncIterator[str]:
    """A server of another kind: it says something, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        # Who hangs up on what it has not read resets the connection, and that may be noticed first.
        await reader.read(1 << 16)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("first", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
async def test_a_server_that_does_not_even_speak_http_is_there_and_wrong(first: bytes) -> None:
    async with says(first) as place:
        with pytest.raises(NoModel, match="does not speak the Ollama API") as raised:
            await pulled_models(f"http://{place}")
        assert not isinstance(raised.value, NoServer)
        with pytest.raises(NoModel, match="cannot be trusted") as raised:
            await pulled_models(f"https://{place}")
        assert not isinstance(raised.value, NoServer)


@contextmanager
def never_answers() -> Iterator[str]:
    """A place on this machine that neither takes a connection nor refuses it: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        host, port = full.getsockname()
        with socket.create_connection((host, port)):
            yield f"http://{host}:{port}"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_only_a_refused_connection_is_no_server(name: str) -> None:
    with pytest.raises(NoServer, match=rf"No Ollama answers at http://{name}:"):
        await pulled_models(f"http://{name}:{free_port()}")


async def test_a_host_that_nobody_knows_is_named() -> None:
    with pytest.raises(NoModel, match=r"Nobody knows the host of http://nowhere.invalid:1 ") as raised:
        await pulled_models("http://nowhere.invalid:1")
    assert not isinstance(raised.value, NoServer)


async def test_an_address_that_never_answers_ends_the_start_of_a_worker_in_time(tmp_path: Path) -> None:
    with never_answers() as url:
        shipped_settings(tmp_path, {"models.host": ""})
        began = time.monotonic()
        async with WorkerProcess(tmp_path, "--dev", OLLAMA_HOST=url) as worker:
            assert await worker.process.wait() == 2
    # By itself the system gives up after two minutes.
    assert time.monotonic() - began < CONNECT_SECONDS + 60
    assert worker.err.startswith(f"{url} cannot be reached (no answer within {CONNECT_SECONDS} s); ")
    assert worker.err.endswith("or correct OLLAMA_HOST\n")
    assert len(worker.err.splitlines()) == 1


async def test_an_address_without_a_way_to_it_is_named() -> None:
    # That is an address of many, to which no connection leads.
    with pytest.raises(NoModel, match=os.strerror(errno.ENETUNREACH)) as raised:
        await pulled_models("http://224.0.0.1:11434")
    assert not isinstance(raised.value, NoServer)


async def test_a_server_that_takes_the_connection_and_is_silent_is_too_slow() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(NoModel, match="did not list its models within 8 s"):
            await pulled_models(f"http://127.0.0.1:{port}")


async def test_a_model_is_there_by_each_of_its_names(ollama: FakeOllama) -> None:
    ollama.script.models = ["qwen2.5:7b", "nomic-embed-text:latest", "hf.co/Some/Model:Q4_K_M"]
    pulled = await pulled_models(ollama.url)
    for name in ("library/qwen2.5:7b", "registry.ollama.ai/library/qwen2.5:7b", "Qwen2.5:7B"):
        assert is_pulled(name, pulled)
    assert is_pulled("nomic-embed-text", pulled)
    assert is_pulled("hf.co/some/model:q4_k_m", pulled)
    assert not is_pulled("qwen2.5", pulled)
    assert not is_pulled("me/qwen2.5:7b", pulled)


@pytest.mark.parametrize(("listing", "said"), WRONG[:3])
async def test_it_ends_the_start_of_a_worker_and_the_doctor_says_the_same(
    ollama: FakeOllama, tmp_path: Path, listing: Listing, said: str
) -> None:
    ollama.script.listing = listing
    shipped_settings(tmp_path, {"models.host": ollama.url})
    async with WorkerProcess(tmp_path, "--dev") as worker:
        assert await worker.process.wait() == 2
    assert said in worker.err
    assert len(worker.err.splitlines()) == 1
    doctor = await Starter(tmp_path, "127.0.0.1:1")("doctor", "--json")
    found = doctor.finding("models")
    assert found["state"] == "broken"
    assert worker.err.startswith(found["figure"])
    assert found["advice"][1:] in worker.err
