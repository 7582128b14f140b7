"""Where a model server is, and what the environment says of proxies, at the wire and in every command."""

from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from activities.memory.embedding import Embedder, NoEmbeddings
from activities.model_server.client import AddressBroken, full_name, model_client, reach
from activities.personas import Personas
from connection.model_server import NoModel, NoServer, pulled_models
from messages.calls import Speech
from testbed.fake_ollama import FakeOllama
from testbed.ports import free_port
from testbed.world import shipped_settings
from tests.activities.asking import Attempt, a_call, failure_of
from tests.desk.command_line import Starter
from tests.runtime.worker_process import WorkerProcess

FAULTY = {
    "NO_PROXY": ["fd00::/8", "localhost,[::1]"],
    "ALL_PROXY": ["socks://127.0.0.1:1", "socks5://127.0.0.1:1"],
    "HTTP_PROXY": ["http://me:secret@proxy:port"],
    "SSL_CERT_FILE": ["/nowhere"],
}
MISTYPED = [(name, value) for name, values in FAULTY.items() for value in values]
REMOTE = "http://gpu.example:11434"


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("::", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:1234", "http://[::1]:1234"),
        (":1234", "http://127.0.0.1:1234"),
        ("gpu", "http://gpu:11434"),
        ("gpu:1234", "http://gpu:1234"),
        ("gpu/", "http://gpu:11434"),
        (' "gpu:1234/ollama/" ', "http://gpu:1234/ollama"),
        ("http://gpu:1234/", "http://gpu:1234"),
        ("HTTPS://gpu", "https://gpu"),
    ],
)
def test_an_address_is_read_as_ollama_reads_it(
    written: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", written)
    assert reach("") == url
    assert reach("http://other:1") == "http://other:1"


@pytest.mark.parametrize(
    "written", [":::", "gpu:port", "gpu:99999", "[::1", "a b", "ftp://gpu", "http://", "gpu:1:2", "<gpu>"]
)
def test_an_address_that_is_none_is_told_with_who_named_it(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", written)
    with pytest.raises(AddressBroken, match="is no address of a model server; correct OLLAMA_HOST"):
        model_client(reach(""))
    monkeypatch.setenv("OLLAMA_HOST", "gpu")
    with pytest.raises(AddressBroken, match=r"is no address of a model server; correct \[models\] host"):
        model_client(reach(written))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("qwen2.5:7b", "library/qwen2.5:7b"),
        ("qwen2.5:7b", "registry.ollama.ai/library/qwen2.5:7b"),
        ("qwen2.5:7b", "Qwen2.5:7B"),
        ("nomic-embed-text", "nomic-embed-text:latest"),
        ("me/own", "registry.ollama.ai/me/own:latest"),
        ("hf.co/Some/Model-GGUF:Q4_K_M", "https://hf.co/some/model-gguf:q4_k_m"),
    ],
)
def test_names_of_one_model_are_the_same(one: str, other: str) -> None:
    assert full_name(one) == full_name(other)


def test_names_of_two_models_are_not_the_same() -> None:
    names = [
        "qwen2.5",
        "qwen2.5:7b",
        "me/qwen2.5:7b",
        "hf.co/library/qwen2.5:7b",
        "localhost:5000/a/qwen2.5:7b",
    ]
    assert len(set(map(full_name, names))) == len(names)


# --- the environment ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), MISTYPED)
async def test_a_model_on_this_machine_needs_none_of_it(
    ollama: FakeOllama, personas: Personas, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    for place in ("127.0.0.1", "localhost", "0.0.0.0"):
        speech: Speech = await Attempt().run(personas.speak, a_call(f"http://{place}:{ollama.port}"))
        assert speech.text.startswith("This is answer")
    for place in ("127.9.9.9", "[::1]", "localhost.", "[::ffff:127.0.0.1]", "ollama.localhost"):
        await model_client(f"http://{place}:1").close()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(("name", "value"), MISTYPED)
async def test_for_any_other_the_variable_is_named_once_and_everywhere(
    personas: Personas, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    failure = await failure_of(Attempt(), personas.speak, a_call(REMOTE))
    assert failure.type == "ModelAddressBroken"
    assert failure.non_retryable
    assert failure.message.startswith(f"{REMOTE} cannot be asked: {name} ")
    assert "unset it" in failure.message
    assert "secret" not in failure.message
    with pytest.raises(NoEmbeddings) as raised:
        Embedder(REMOTE, "nomic-embed-text")
    assert str(raised.value) == failure.message


async def test_a_proxy_that_is_not_there_is_no_missing_server(
    personas: Personas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    failure = await failure_of(Attempt(), personas.speak, a_call(REMOTE))
    assert failure.type == "ModelUnreachable"
    assert "cannot be reached through the proxy that HTTP_PROXY names" in failure.message
    with pytest.raises(
        NoModel, match="through the proxy that HTTP_PROXY names; correct HTTP_PROXY"
    ) as raised:
        await pulled_models(REMOTE)
    assert not isinstance(raised.value, NoServer)
    monkeypatch.setenv("NO_PROXY", "gpu.example")
    with pytest.raises(NoModel, match="Nobody knows the host"):
        await pulled_models(REMOTE)


async def test_a_key_that_no_header_can_hold_is_named_and_not_shown(
    ollama: FakeOllama, personas: Personas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "secret\n")
    failure = await failure_of(Attempt(), personas.speak, a_call(ollama.url))
    assert failure.type == "ModelAddressBroken"
    assert "OLLAMA_API_KEY holds characters that no key has" in failure.message
    assert "secret" not in failure.message


@pytest.mark.parametrize("number", [0, -1])
async def test_every_command_works_whatever_the_environment_says(
    client: Client, tmp_path: Path, number: int
) -> None:
    faulty = {**FAULTY, "OLLAMA_HOST": ["::1", ":::"], "OLLAMA_API_KEY": ["ключ"]}
    environment: dict[str, Any] = {name: values[number] for name, values in faulty.items()}
    starter = Starter(tmp_path, client.service_client.config.target_host, **environment)
    helped, status = await starter.each(["--help"], ["status", "--image", "nobody"])
    assert (helped.code, status.code) == (0, 2)
    assert "nobody" in status.err
    assert "Traceback" not in helped.err + status.err
    async with WorkerProcess(tmp_path, "--help", **environment) as worker:
        assert await worker.process.wait() == 0


@pytest.mark.parametrize(("name", "value"), MISTYPED)
async def test_the_start_of_a_worker_and_the_doctor_name_the_variable(
    tmp_path: Path, name: str, value: str
) -> None:
    shipped_settings(tmp_path, {"models.host": REMOTE})
    environment: dict[str, Any] = {name: value}
    async with WorkerProcess(tmp_path, "--dev", **environment) as worker:
        assert await worker.process.wait() == 2
        assert worker.err.startswith(f"{REMOTE} cannot be asked: {name} ")
        assert len(worker.err.splitlines()) == 1
    doctor = await Starter(tmp_path, "127.0.0.1:1", **environment)("doctor", "--json")
    assert worker.err.startswith(doctor.finding("models")["figure"])
