"""TLS as Temporal's environment configuration asks for it: real handshakes, in front of a real server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from temporalio.client import Client

from connection.server import ServerUnreachable, connect, target
from testbed.fake_ollama import FakeOllama
from testbed.world import Image
from tests.runtime.worker_process import WorkerProcess


class TlsServer:
    """A port that speaks TLS and hands on what it hears to a server without; `ca` signs its certificate."""

    def __init__(self, folder: Path, plain: str, *, wants_client_certificate: bool = False) -> None:
        self.ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)
        self._plain_host, _, self._plain_port = plain.rpartition(":")
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.set_alpn_protocols(["h2"])
        self.ca.issue_cert("localhost").configure_cert(self._context)
        if wants_client_certificate:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self.ca.configure_trust(self._context)
        self.connections = 0
        self._busy: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Its address."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        try:
            yield f"localhost:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._busy:
                task.cancel()
            await asyncio.gather(*self._busy, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        self.connections += 1
        plain_reader, plain_writer = await asyncio.open_connection(self._plain_host, int(self._plain_port))
        try:
            async with asyncio.TaskGroup() as both_ways:
                both_ways.create_task(_pass_on(reader, plain_writer))
                both_ways.create_task(_pass_on(plain_reader, writer))
        except* OSError:
            pass
        finally:
            writer.close()
            plain_writer.close()
            self._busy.discard(task)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
async def tls(client: Client, tmp_path: Path) -> AsyncIterator[tuple[TlsServer, str]]:
    server = TlsServer(tmp_path, target(client))
    async with server.running() as address:
        yield server, address


async def test_a_server_behind_tls_is_reached_with_the_ca_that_signed_it(
    tls: tuple[TlsServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, address = tls
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    monkeypatch.setenv("TEMPORAL_TLS", "true")
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", str(server.ca_file))
    assert target(await connect()) == address
    assert server.connections >= 1


async def test_a_profile_asks_for_tls_as_well(
    tls: tuple[TlsServer, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server, address = tls
    file = tmp_path / "temporal.toml"
    file.write_text(
        f'[profile.cluster]\naddress = "{address}"\n'
        f'[profile.cluster.tls]\nserver_ca_cert_path = "{server.ca_file}"\n'
    )
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    monkeypatch.setenv("TEMPORAL_PROFILE", "cluster")
    assert target(await connect()) == address
    assert server.connections >= 1


@pytest.mark.parametrize("trusted", [None, "another"])
async def test_a_server_that_nobody_vouches_for_is_refused_in_one_sentence(
    tls: tuple[TlsServer, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trusted: str | None
) -> None:
    _, address = tls
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    monkeypatch.setenv("TEMPORAL_TLS", "true")
    if trusted is not None:
        trustme.CA().cert_pem.write_to_path(tmp_path / trusted)
        monkeypatch.setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", str(tmp_path / trusted))
    with pytest.raises(ServerUnreachable, match=f"No Temporal server answers at {address}") as refused:
        await connect()
    assert "its certificate is not trusted, UnknownIssuer: see TEMPORAL_TLS_SERVER" in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_without_tls_a_server_behind_tls_is_not_reached(
    tls: tuple[TlsServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, address = tls
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    with pytest.raises(ServerUnreachable):
        await connect()


async def test_tls_with_a_server_that_does_without_is_refused_in_one_sentence(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", target(client))
    monkeypatch.setenv("TEMPORAL_TLS", "true")
    with pytest.raises(
        ServerUnreachable, match="it does not speak TLS, InvalidContentType: see TEMPORAL_TLS"
    ):
        await connect()


async def test_an_api_key_alone_means_tls(
    tls: tuple[TlsServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, address = tls
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    monkeypatch.setenv("TEMPORAL_API_KEY", "a key")
    with pytest.raises(ServerUnreachable, match="certificate"):
        await connect()
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", str(server.ca_file))
    assert target(await connect()) == address


async def test_a_worker_proves_who_it_is_and_works_behind_mutual_tls(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    server = TlsServer(tmp_path, target(client), wants_client_certificate=True)
    certificate = server.ca.issue_cert("worker")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "worker.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "worker.key")
    image = Image(client, ollama.url, tmp_path)
    await image.start()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(server.running())
        environment: dict[str, Any] = {
            "TEMPORAL_ADDRESS": address,
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(server.ca_file),
            "OLLAMA_HOST": ollama.url,
        }
        async with WorkerProcess(tmp_path, **environment) as stranger:
            assert await stranger.process.wait() == 2
            assert f"No Temporal server answers at {address}" in stranger.err
        environment["TEMPORAL_TLS_CLIENT_CERT_PATH"] = str(tmp_path / "worker.pem")
        environment["TEMPORAL_TLS_CLIENT_KEY_PATH"] = str(tmp_path / "worker.key")
        worker = await stack.enter_async_context(WorkerProcess(tmp_path, **environment))
        await worker.awake()
        assert (await image.ask("Is anybody listening in?")).synthesis
        assert await worker.stop() == 0
        assert worker.err.splitlines() == ["Stopping ..."]
