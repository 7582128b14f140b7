"""Where a client connects to, and what is said when it cannot."""

from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter

from connection.problems import Problem
from connection.server import ServerUnreachable, connect, is_configured, target
from connection.web_ui import inbox_url, workflow_url
from testbed.ports import free_port


@pytest.fixture(autouse=True)
def nobody_has_configured_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ADDRESS", "NAMESPACE", "PROFILE", "CONFIG_FILE", "API_KEY", "TLS"):
        monkeypatch.delenv(f"TEMPORAL_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def write_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text(text)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))


def test_without_a_word_no_server_is_configured() -> None:
    assert not is_configured()


async def test_temporal_address_names_the_server(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", target(client))
    assert is_configured()
    connected = await connect()
    assert target(connected) == target(client)
    assert connected.data_converter.payload_converter_class is PydanticPayloadConverter


async def test_a_profile_names_the_server(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_profile(tmp_path, monkeypatch, f'[profile.home]\naddress = "{target(client)}"\n')
    assert not is_configured()
    monkeypatch.setenv("TEMPORAL_PROFILE", "home")
    assert is_configured()
    assert target(await connect()) == target(client)


async def test_a_server_of_our_own_is_reached_whatever_else_is_configured(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "elsewhere:7233")
    monkeypatch.setenv("TEMPORAL_API_KEY", "a key for elsewhere, which would mean TLS")
    assert target(await connect(target(client))) == target(client)


async def test_no_server_is_one_sentence() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(ServerUnreachable) as caught:
        await connect(address)
    assert str(caught.value) == (
        f"No Temporal server answers at {address} (Connection refused); start one with "
        "`python worker.py --dev`, or set TEMPORAL_ADDRESS to one that runs"
    )


async def test_an_unknown_namespace_is_one_sentence(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", target(client))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "nowhere")
    with pytest.raises(ServerUnreachable, match="has no namespace 'nowhere'; create it with"):
        await connect()


@pytest.mark.parametrize("text", ["not toml", "[profile.other]\n"])
def test_a_configuration_that_cannot_be_read_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    write_profile(tmp_path, monkeypatch, text)
    monkeypatch.setenv("TEMPORAL_PROFILE", "missing")
    with pytest.raises(Problem, match="environment configuration cannot be read") as caught:
        is_configured()
    assert "\n" not in str(caught.value)


def test_links_lead_to_the_page_of_a_workflow_whatever_its_id() -> None:
    assert (
        workflow_url("http://127.0.0.1:8233", "default", "living-image/loop/3")
        == "http://127.0.0.1:8233/namespaces/default/workflows/living-image%2Floop%2F3"
    )
    assert (
        inbox_url("http://127.0.0.1:8233", "my team")
        == "http://127.0.0.1:8233/namespaces/my%20team/workflows?query=NeedsHuman%3Dtrue"
    )
