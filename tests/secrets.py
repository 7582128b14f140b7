"""Every secret that the programs take, each one marked, and places that are searched for the marks."""

import base64
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from connection.sealing import VARIABLE
from tests.connection.test_server_tls import TlsServer

PASSPHRASE = "s3cret-passphrase"


def mark(name: str) -> str:
    return f"s3cret-{name}"


@asynccontextmanager
async def behind_tls(folder: Path, plain: str) -> AsyncIterator[dict[str, str]]:
    """A way to a server that wants a certificate; the environment that leads there."""
    server = TlsServer(folder, plain, wants_client_certificate=True)
    certificate = server.ca.issue_cert("worker")
    certificate.cert_chain_pems[0].write_to_path(folder / "worker.pem")
    certificate.private_key_pem.write_to_path(folder / "worker.key")
    async with server.running() as address:
        yield {
            "TEMPORAL_ADDRESS": address,
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(server.ca_file),
            "TEMPORAL_TLS_CLIENT_CERT_PATH": str(folder / "worker.pem"),
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(folder / "worker.key"),
            "TEMPORAL_API_KEY": mark("temporal"),
        }
        assert server.connections > 0


def signed_in(url: str, name: str) -> str:
    """A URL with a password."""
    return url.replace("://", f"://marie:{mark(name)}@")


def environment(keys: str, model_server: str, collector: str) -> dict[str, str]:
    """What holds a secret in the environment of a worker or a command, beside the way to the server."""
    proxy = signed_in("http://127.0.0.1:9", "proxy")
    return {
        VARIABLE: keys,
        "LIVING_IMAGE_KEY": mark("snapshots"),
        "LIVING_IMAGE_DOOR_TOKEN": mark("door"),
        "LIVING_IMAGE_CODEC_TOKEN": mark("codec"),
        "OLLAMA_API_KEY": mark("model"),
        "OLLAMA_HOST": signed_in(model_server, "model-server"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": signed_in(collector, "collector"),
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={mark('traces')}",
        "HTTP_PROXY": proxy,
        "HTTPS_PROXY": proxy,
        "NO_PROXY": "127.0.0.1,localhost",
    }


def marks(keys: str, private_files: Iterable[Path]) -> dict[bytes, str]:
    """All that may stand nowhere, with what it is."""
    found = {b"s3cret": "a marked secret", base64.b64encode(b"marie:s3cret")[:-4]: "a basic sign-in"}
    for entry in filter(None, keys.split(",")):
        encoded = entry.partition(":")[2]
        found |= {encoded.encode(): "a key", base64.b64decode(encoded): "a key's bytes"}
    for file in private_files:
        # Its lines in the middle: the first are the same for every key of a kind.
        body = file.read_text().split("-----")[2].split()
        found |= {line.encode(): f"a line of {file.name}" for line in body[2:-1]}
    return found


def told(places: dict[str, bytes], forbidden: dict[bytes, str]) -> set[tuple[str, str]]:
    """Where which secret stands."""
    return {
        (place, what)
        for place, text in places.items()
        for secret, what in forbidden.items()
        if secret in text
    }
