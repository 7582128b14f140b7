"""A save is noticed where the kernel tells nobody of it: a file system without events, no watches left."""

import shutil
import subprocess
from pathlib import Path

import pytest

from connection.server import connect
from messages.image import SettingsView
from testbed.fake_ollama import FakeOllama
from testbed.world import SETTINGS, until
from tests.runtime.worker_process import IMAGE, WorkerProcess, dev_ports

# Below an overlay a file can be changed without a word to who watches it above, as on a network drive.
OVERLAY = """
mount -t tmpfs none layers && cd layers && mkdir below upper work shown && cp ../settings.toml below &&
mount -t overlay -o lowerdir=below,upperdir=upper,workdir=work overlay shown && cd .. &&
"""
# Of this user namespace only; nobody else on the machine has fewer.
NO_WATCHES = "echo 0 > /proc/sys/user/max_inotify_instances &&"


def unshared(options: str, script: str) -> tuple[str, ...]:
    return ("unshare", *options.split(), "sh", "-c", f'{script} exec "$@"', "sh")


def require(prefix: tuple[str, ...], folder: Path) -> None:
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], cwd=folder, check=False).returncode:
        pytest.skip("needs a Linux that lets us make such namespaces")


def save(file: Path) -> None:
    file.write_text(file.read_text().replace("max_turns = 4", "max_turns = 7"))


async def notices(worker: WorkerProcess, file: Path) -> None:
    """Save the file in place, and wait until the image goes by it."""
    await worker.awake()
    image = (await connect(worker.server.address)).get_workflow_handle(IMAGE)

    async def looked_at_the_start() -> bool:
        events = (await image.fetch_history()).events
        return any(event.HasField("workflow_execution_update_completed_event_attributes") for event in events)

    async def adopted() -> bool:
        view = await image.query("settings", result_type=SettingsView)
        return bool(view.values["autopoiesis.max_turns"] == 7)

    await until(looked_at_the_start)
    save(file)
    await until(adopted)
    assert await worker.stop() == 0
    assert "Traceback" not in worker.err


async def test_on_a_file_system_that_tells_nobody_of_a_save(tmp_path: Path, ollama: FakeOllama) -> None:
    (tmp_path / "layers").mkdir()
    shutil.copy(SETTINGS, tmp_path)
    prefix = unshared("-m", OVERLAY)
    require(prefix, tmp_path)
    settings = ("--settings", "layers/shown/settings.toml")
    async with WorkerProcess(
        tmp_path, *dev_ports(), *settings, prefix=prefix, OLLAMA_HOST=ollama.url
    ) as worker:
        below = Path(f"/proc/{worker.process.pid}/root{tmp_path}/layers/below")
        await notices(worker, below / "settings.toml")


async def test_where_no_watches_are_left(tmp_path: Path, ollama: FakeOllama) -> None:
    prefix = unshared("-U -r", NO_WATCHES)
    require(prefix, tmp_path)
    async with WorkerProcess(tmp_path, *dev_ports(), prefix=prefix, OLLAMA_HOST=ollama.url) as worker:
        await notices(worker, worker.settings)
