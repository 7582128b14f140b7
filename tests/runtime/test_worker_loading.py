"""`python worker.py --dev` while the embedded model is still fetched and loaded, or cannot be."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from connection.server import connect
from messages.tasks import TaskReceipt
from testbed.ports import free_port
from testbed.world import until
from tests.runtime.worker_process import (
    IMAGE,
    WorkerProcess,
    dev_ports,
    dialogue,
    lives,
    status,
    tiny_model,
)


async def children_that_fetch(worker: WorkerProcess) -> list[psutil.Process]:
    """All children of a worker, as soon as one of them is uv."""
    children = psutil.Process(worker.process.pid).children(recursive=True)
    with suppress(psutil.NoSuchProcess):
        return children if any("uv" in child.name() for child in children) else []
    return []


@contextmanager
def silent_index() -> Iterator[str]:
    """A package index that takes connections and says nothing, as a very slow one would."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hold() -> None:
            try:
                while True:
                    held.append(listener.accept()[0])
            except OSError:
                return

        threading.Thread(target=hold, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/simple"
        listener.shutdown(socket.SHUT_RDWR)
    for connection in held:
        connection.close()


def without_ollama(folder: Path) -> dict[str, str]:
    """An environment in which the worker has to fetch the embedded model."""
    return {"OLLAMA_HOST": f"http://127.0.0.1:{free_port()}", "XDG_CACHE_HOME": str(folder / "cache")}


def as_environment(variables: dict[str, str]) -> tuple[str, ...]:
    return ("env", *(f"{name}={value}" for name, value in variables.items()))


@pytest.mark.timeout(600)  # a real model speaks
async def test_the_image_is_awake_while_the_model_is_fetched_and_ctrl_c_ends_the_download(
    tmp_path: Path,
) -> None:
    with silent_index() as index:
        environment = {**without_ollama(tmp_path), "UV_DEFAULT_INDEX": index}
        worker = WorkerProcess(tmp_path, *dev_ports(), prefix=as_environment(environment))
        async with worker:
            await worker.awake()
            assert "still being fetched or loaded" in worker.out
            client = await connect(worker.server.address)
            receipt = await client.get_workflow_handle(IMAGE).execute_update(
                "submit_task", {"task": "Trees or roofs?"}, result_type=TaskReceipt
            )

            async def runs() -> bool:
                return (await status(client)).running == 1

            await until(runs)
            children = await until(lambda: children_that_fetch(worker))
            assert await worker.stop() == 0
            assert not [child for child in children if lives(child.pid)]
            assert "Traceback" not in worker.err

        # Another worker brings a model, and the task that was asked meanwhile is argued out.
        async with WorkerProcess(tmp_path, *dev_ports(), "--gguf", str(tiny_model())) as worker:
            await worker.awake()
            client = await connect(worker.server.address)
            spoken = dialogue(client, receipt)

            async def says_something() -> bool:
                return (await spoken.describe()).raw_description.workflow_execution_info.history_length > 12

            await until(says_something, 300)
            assert await worker.stop() == 0


async def test_a_model_that_cannot_be_fetched_is_one_sentence(tmp_path: Path) -> None:
    environment = {**without_ollama(tmp_path), "UV_OFFLINE": "1", "PIP_NO_INDEX": "1"}
    environment |= {"PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": str(tmp_path)}
    async with WorkerProcess(tmp_path, *dev_ports(), prefix=as_environment(environment)) as worker:
        assert await worker.process.wait() == 2
    said = worker.err.splitlines()
    assert said[0].startswith("Fetching ")
    assert said[-1].startswith("The embedded model could not be fetched to ")
    assert "--no-embedded-model" in said[-1]
    assert "Traceback" not in worker.err


async def test_a_model_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "some.gguf").write_text("not a model")
    async with WorkerProcess(tmp_path, *dev_ports(), "--gguf", "some.gguf") as worker:
        assert await worker.process.wait() == 2
    assert "some.gguf could not be loaded as a model" in worker.err.splitlines()[-1]
    assert "Traceback" not in worker.err
