"""No secret that the programs take is in a history, a log, a snapshot, a report, a metric or a trace."""

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from activities.snapshots.format import read
from connection.codec import payloads_in
from connection.namespace import ensure_search_attributes
from connection.server import connect
from runtime.dev_server import DevServer
from testbed.fake_ollama import FakeOllama
from testbed.ports import free_ports
from testbed.world import Image
from tests.connection.collector import collecting
from tests.connection.encrypted import OLD, client_with, kept_by
from tests.desk.command_line import Starter
from tests.desk.screen import Screen
from tests.runtime.worker_process import WorkerProcess
from tests.secrets import PASSPHRASE, behind_tls, environment, mark, marks, signed_in, told

HOOK = signed_in(f"http://127.0.0.1:9/hook?key={mark('hook')}", "hook-server")


class Life(Image):
    """An image whose every secret is marked. `said`: what its programs and pages told, by what told it."""

    def __init__(self, client: Client, folder: Path, around: dict[str, str]) -> None:
        # It looks at its logs when it is told to: several tasks come before what speaks for a change.
        super().__init__(client, "", folder, {"cadence.min_logs": 100})
        self.folder = folder
        self.around = around
        self.starter = Starter(folder, around["TEMPORAL_ADDRESS"], **around)
        self.said: dict[str, bytes] = {}

    def govern(self, key: Path) -> None:
        line = key.with_suffix(".pub").read_text().strip()
        text = self.file.read_text().replace("approvers = []", f"approvers = {json.dumps([line])}")
        self.file.write_text(text.replace("notify = []", f"notify = {json.dumps([HOOK])}"))

    async def run(self, *words: str, code: int = 0) -> None:
        ran = await self.starter(*words)
        assert ran.code == code, (words, ran)
        self.said[f"starter.py {' '.join(words)}"[:60]] = f"{ran.out}{ran.err}".encode()


async def lived(life: Life, ollama: FakeOllama, key: Path) -> None:
    """Tasks, one refused and one at the door, a proposal that is signed, and all that tells of it."""
    door, metrics = free_ports()
    around: dict[str, Any] = life.around
    worker = WorkerProcess(life.folder, f"--door={door}", f"--metrics={metrics}", "--log-json", **around)
    async with worker:
        await worker.awake()
        await life.run("ask", "What is a secret?", "--follow")
        ollama.fail("wrong_key", 9)
        await life.run("ask", "And who keeps it?", code=1)
        ollama.script.faults.clear()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{door}/v1", timeout=60) as client:
            asked = {"model": life.name, "messages": [{"role": "user", "content": "And at the door?"}]}
            refused = await client.post("/chat/completions", json=asked)
            token = {"Authorization": f"Bearer {life.around['LIVING_IMAGE_DOOR_TOKEN']}"}
            answered = await client.post("/chat/completions", json=asked, headers=token)
            assert (refused.status_code, answered.status_code) == (401, 200)
            life.said["the door"] = refused.content + answered.content
        await propose_and_sign(life, key)
        await refuse_passwords(life)
        for words in (
            ("show", "1", "--json"),
            ("logs", "--csv", "logs.csv"),
            ("snapshot",),
            ("report", "life.html"),
            *((name, "--json") for name in ("status", "tasks", "history", "amendments")),
        ):
            await life.run(*words)
        await life.run("doctor", code=1)  # which warns of a short retention
        async with httpx.AsyncClient(timeout=60) as client:
            life.said["metrics"] = (await client.get(f"http://127.0.0.1:{metrics}/metrics")).content
        assert await worker.stop() == 0
    assert {call.authorization for call in ollama.calls} == {f"Bearer {life.around['OLLAMA_API_KEY']}"}


async def propose_and_sign(life: Life, key: Path) -> None:
    view = await life.pending_proposal()
    async with Screen(life.starter, "approve", view.loop_id, "--yes", "--key", str(key)) as screen:
        await screen.until("Passphrase of")
        screen.type(f"{PASSPHRASE}\r")
        assert await screen.ended() == 0
        life.said["the terminal"] = screen.sent
    await life.loops_concluded()
    assert life.on_file().autopoiesis.max_turns == 3


async def refuse_passwords(life: Life) -> None:
    """What would carry a password into histories is refused."""
    await life.run("snapshot", "--path", signed_in("sftp://127.0.0.1/snapshots", "place"), code=1)
    before = life.file.read_text()
    for key, value in (
        ("models.host", signed_in("http://127.0.0.1", "host")),
        ("models.host", signed_in("ftp://127.0.0.1", "no-host")),
        ("system.image_path", signed_in("sftp://127.0.0.1/snapshots", "path")),
    ):
        life.edit({key: value})
        await life.run("reload", code=1)
        life.said[f"status with {value[:9]}"] = (await life.status()).model_dump_json().encode()
        life.file.write_text(before)
    await life.run("reload")


async def histories(life: Life) -> dict[str, bytes]:
    """All that the server keeps of each workflow, as it is and as whoever has the keys reads it."""
    found = {}
    async for each in life.client.list_workflows():
        handle = life.client.get_workflow_handle(each.id, run_id=each.run_id)
        async for event in handle.fetch_history_events():
            name = f"{each.id}, event {event.event_id}"
            found[name] = event.SerializeToString()
            if sealed := list(payloads_in(event)):
                codec = life.client.data_converter.payload_codec
                read = await codec.decode(sealed) if codec else sealed
                found[f"{name}, decrypted"] = b"\n".join(payload.data for payload in read)
    return found


def files(life: Life) -> dict[str, bytes]:
    """What was written, but the settings with their backups, in which a person's address stands."""
    own = (life.file, life.folder / "tls", life.folder / "keys", life.file.with_suffix(".backups"))
    return {
        str(path): path.read_bytes()
        for path in life.folder.rglob("*")
        if path.is_file() and not any(path.is_relative_to(each) for each in own)
    }


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[DevServer]:
    """A server whose file can be read."""
    async with DevServer(tmp_path / "server", *free_ports()) as running:
        await ensure_search_attributes(await connect(running.address))
        yield running


def encrypted_key(folder: Path) -> Path:
    """A private key with a passphrase, as `ssh-keygen` makes it."""
    if not shutil.which("ssh-keygen"):
        pytest.skip("needs ssh-keygen")
    key = folder / "ada"
    made = ["ssh-keygen", "-q", "-t", "ed25519", "-C", "Ada", "-N", PASSPHRASE, "-f", str(key)]
    subprocess.run(made, check=True)
    return key


@pytest.mark.timeout(600)
@pytest.mark.parametrize("keys", ["", OLD], ids=["in the clear", "encrypted"])
async def test_no_secret_is_told(
    server: DevServer, ollama: FakeOllama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str
) -> None:
    for folder in ("life", "life/tls", "life/keys"):
        (tmp_path / folder).mkdir()
    key = encrypted_key(tmp_path / "life" / "keys")
    with collecting() as collector:
        async with behind_tls(tmp_path / "life" / "tls", server.address) as way:
            around = way | environment(keys, ollama.url, collector.url)
            life = Life(await client_with(server.address, keys), tmp_path / "life", around)
            life.govern(key)
            await life.start()
            await lived(life, ollama, key)
    for name in ("LIVING_IMAGE_KEYS", "LIVING_IMAGE_KEY"):
        monkeypatch.setenv(name, around[name])
    snapshots = list((life.folder / "snapshots").glob("*.image"))
    opened = {
        f"{path}, opened": repr(read(path.read_bytes(), mark("snapshots").encode())).encode()
        for path in snapshots
    }
    places = {
        **life.said,
        **await histories(life),
        **files(life),
        **opened,
        "the server's file": kept_by(server.folder),
        "the traces": repr(collector.spans).encode(),
    }
    assert snapshots
    assert collector.spans
    assert all(
        word in "".join(places) for word in ("stderr", "memory.db", "life.html", "logs.csv", "/loop/1")
    )
    forbidden = marks(keys, [key, tmp_path / "life" / "tls" / "worker.key"])
    assert told({"what is left out": life.file.read_bytes() + key.read_bytes()}, forbidden)
    assert told(places, forbidden) == set()
