"""What a person sees and gets who starts, stops and maltreats `python worker.py`."""

import os
import signal
import socket
from pathlib import Path

import httpx
import psutil
import pytest
from temporalio.testing import WorkflowEnvironment

from connection.server import connect, target
from messages.tasks import TaskReceipt
from testbed.fake_ollama import FakeOllama
from testbed.ports import free_port
from testbed.world import until
from tests.runtime.worker_process import (
    IMAGE,
    WorkerProcess,
    argue,
    dev_ports,
    dialogue,
    lives,
    status,
    tiny_model,
)

# --- one command runs everything ------------------------------------------------------------------


async def test_dev_starts_a_server_wakes_the_image_and_says_where_to_go(
    tmp_path: Path, ollama: FakeOllama
) -> None:
    async with WorkerProcess(tmp_path, *dev_ports(), OLLAMA_HOST=ollama.url) as worker:
        await worker.awake()
        client = await connect(worker.server.address)

        web_ui = worker.server.web_ui
        assert f"{web_ui}/namespaces/default/workflows/{IMAGE}\n" in worker.out
        assert f"{web_ui}/namespaces/default/workflows?query=NeedsHuman%3Dtrue\n" in worker.out
        assert "ollama qwen2.5:7b, llama3.1:8b\n" in worker.out
        assert f"export TEMPORAL_ADDRESS={worker.server.address}\n" in worker.out
        for command in ("ask", "status", "proposals"):
            assert f"starter.py {command}" in worker.out
        assert worker.err == ""

        async with httpx.AsyncClient(timeout=60) as http:
            assert (await http.get(web_ui)).status_code == 200
        assert (await status(client)).model_backend == "ollama qwen2.5:7b, llama3.1:8b"
        assert await argue(client, "Trees or roofs?") == "converged"


async def test_ctrl_c_stops_everything_and_the_next_start_goes_on_with_the_same_image(
    tmp_path: Path, ollama: FakeOllama
) -> None:
    ports = dev_ports()
    async with WorkerProcess(tmp_path, *ports, OLLAMA_HOST=ollama.url) as worker:
        await worker.awake()
        started_at = (await status(await connect(worker.server.address))).started_at
        server = worker.server.pid
        assert await worker.stop(signal.SIGINT) == 0
        assert not lives(server)
        assert "Traceback" not in worker.err

    async with WorkerProcess(tmp_path, *ports, OLLAMA_HOST=ollama.url) as worker:
        await worker.awake()
        client = await connect(worker.server.address)
        assert (await status(client)).started_at == started_at
        assert await argue(client, "Trees or roofs?") == "converged"
        server = worker.server.pid
        assert await worker.stop(signal.SIGTERM) == 0
        assert not lives(server)


async def test_ctrl_c_in_the_middle_of_a_model_call_loses_nothing(tmp_path: Path, ollama: FakeOllama) -> None:
    ports = dev_ports()
    ollama.answering.clear()
    async with WorkerProcess(tmp_path, *ports, OLLAMA_HOST=ollama.url) as worker:
        await worker.awake()
        client = await connect(worker.server.address)
        image = client.get_workflow_handle(IMAGE)
        receipt = await image.execute_update(
            "submit_task", {"task": "Trees or roofs?"}, result_type=TaskReceipt
        )
        await ollama.until(lambda: len(ollama.calls) == 1)
        assert await worker.stop() == 0

    ollama.answering.set()
    async with WorkerProcess(tmp_path, *ports, OLLAMA_HOST=ollama.url) as worker:
        await worker.awake()
        client = await connect(worker.server.address)
        result = await dialogue(client, receipt).result()
        assert result.outcome == "converged"


async def test_a_second_ctrl_c_cuts_the_waiting_short_and_still_leaves_nothing_behind(
    tmp_path: Path, ollama: FakeOllama
) -> None:
    ollama.answering.clear()
    async with WorkerProcess(tmp_path, *dev_ports(), OLLAMA_HOST=ollama.url) as worker:
        await worker.awake()
        image = (await connect(worker.server.address)).get_workflow_handle(IMAGE)
        await image.execute_update("submit_task", {"task": "Trees or roofs?"})
        await ollama.until(lambda: len(ollama.calls) == 1)
        server = worker.server.pid
        worker.process.send_signal(signal.SIGINT)
        await worker.says("Stopping ...")
        assert await worker.stop(signal.SIGINT) == 0
        assert not lives(server)
        assert "Traceback" not in worker.err


async def test_dev_uses_the_server_that_temporal_address_names(
    tmp_path: Path, ollama: FakeOllama, server: WorkflowEnvironment
) -> None:
    address = target(server.client)
    settings = tmp_path / "settings.toml"
    async with WorkerProcess(tmp_path, "--dev", OLLAMA_HOST=ollama.url, TEMPORAL_ADDRESS=address) as worker:
        await worker.awake()
        assert psutil.Process(worker.process.pid).children() == []
        assert f"  Server  {address}, namespace default\n" in worker.out
        assert settings.exists()
        await server.client.get_workflow_handle(IMAGE).terminate()
        assert await worker.stop() == 0


# --- whatever dies, it goes on --------------------------------------------------------------------


async def test_the_server_of_a_killed_worker_is_taken_over_and_stopped_in_the_end(
    tmp_path: Path, ollama: FakeOllama
) -> None:
    ports = dev_ports()
    first = WorkerProcess(tmp_path, *ports, OLLAMA_HOST=ollama.url)
    async with first:
        await first.awake()
        server = first.server.pid
        await first.stop(signal.SIGKILL)
        assert lives(server)

        async with WorkerProcess(tmp_path, *ports, OLLAMA_HOST=ollama.url) as second:
            await second.awake()
            assert "Going on with the Temporal dev server" in second.err
            assert second.server.pid == server
            assert await argue(await connect(second.server.address), "Trees or roofs?") == "converged"
            assert await second.stop() == 0
            assert not lives(server)


async def test_after_a_kill_a_start_on_another_port_takes_the_image_along(
    tmp_path: Path, ollama: FakeOllama
) -> None:
    first = WorkerProcess(tmp_path, *dev_ports(), OLLAMA_HOST=ollama.url)
    async with first:
        await first.awake()
        started_at = (await status(await connect(first.server.address))).started_at
        server = first.server.pid
        await first.stop(signal.SIGKILL)

        async with WorkerProcess(tmp_path, *dev_ports(), OLLAMA_HOST=ollama.url) as second:
            await second.awake()
            assert not lives(server)
            assert (await status(await connect(second.server.address))).started_at == started_at


async def test_a_killed_dev_server_comes_back_and_the_worker_goes_on(
    tmp_path: Path, ollama: FakeOllama
) -> None:
    async with WorkerProcess(tmp_path, *dev_ports(), OLLAMA_HOST=ollama.url) as worker:
        await worker.awake()
        address = worker.server.address
        os.kill(worker.server.pid, signal.SIGKILL)
        await worker.says("The Temporal dev server is back")
        assert worker.server.address == address
        assert await argue(await connect(address), "Trees or roofs?") == "converged"
        assert await worker.stop() == 0
        assert "Traceback" not in worker.err


async def test_a_killed_embedded_model_comes_back_where_it_was(tmp_path: Path) -> None:
    async with WorkerProcess(tmp_path, *dev_ports(), "--gguf", str(tiny_model())) as worker:
        await worker.awake()
        await worker.says("The embedded model is loaded")
        assert "embedded smollm2-135m-instruct.q4_1" in worker.out.lower()
        client = await connect(worker.server.address)
        assert "embedded" in (await status(client)).model_backend
        model = embedded_model_of(worker)
        ports_before = listening_ports(model)

        model.kill()
        await worker.says("The embedded model is back")
        model = embedded_model_of(worker)
        port = int(model.cmdline()[model.cmdline().index("--port") + 1])
        assert port in ports_before & listening_ports(model)

        await worker.stop(signal.SIGKILL)
        await until(lambda: gone(model))


def embedded_model_of(worker: WorkerProcess) -> psutil.Process:
    children = psutil.Process(worker.process.pid).children()
    [model] = [child for child in children if "runtime.embedded_model" in command_of(child)]
    return model


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # it has just ended
        return []


def listening_ports(process: psutil.Process) -> set[int]:
    """The model's own port, and the one its engine keeps to itself."""
    return {socket.laddr.port for socket in process.net_connections() if socket.status == psutil.CONN_LISTEN}


async def gone(process: psutil.Process) -> bool:
    return not lives(process.pid)


# --- roles ----------------------------------------------------------------------------------------


async def test_compute_and_files_can_be_two_workers_and_compute_needs_no_file(
    tmp_path: Path, ollama: FakeOllama
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    async with WorkerProcess(here, *dev_ports(), "--role", "files", OLLAMA_HOST=ollama.url) as files_worker:
        await files_worker.awake()
        assert "Model   not in this worker" in files_worker.out
        address = files_worker.server.address
        compute = WorkerProcess(
            there,
            *("--role", "compute", "--task-queue", "living-image", "--settings", "no-such-file"),
            OLLAMA_HOST=ollama.url,
            TEMPORAL_ADDRESS=address,
        )
        async with compute:
            await compute.awake()
            assert await argue(await connect(address), "Trees or roofs?") == "converged"
            assert await compute.stop() == 0
        assert await files_worker.stop() == 0


# --- one sentence, exit code 2 --------------------------------------------------------------------


async def refusal(worker: WorkerProcess) -> str:
    """What a worker says that cannot start."""
    async with worker:
        assert await worker.process.wait() == 2
    assert worker.out == ""
    [sentence] = worker.err.splitlines()
    return sentence


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (("max_turns = 4", "max_turns = 40"), "settings.toml: [autopoiesis] max_turns = 40: must be"),
        (("max_turns = 4", "max_turns ="), "settings.toml: "),
    ],
)
async def test_a_broken_settings_file(tmp_path: Path, edit: tuple[str, str], expected: str) -> None:
    worker = WorkerProcess(tmp_path, "--dev")
    worker.settings.write_text(worker.settings.read_text().replace(*edit))
    assert (await refusal(worker)).startswith(expected)


async def test_a_missing_settings_file(tmp_path: Path) -> None:
    assert "elsewhere.toml cannot be read" in await refusal(
        WorkerProcess(tmp_path, "--dev", "--settings", "elsewhere.toml")
    )


async def test_a_settings_file_that_is_not_writable(tmp_path: Path) -> None:
    # Root may write anything unless that power is taken away.
    powerless = ("setpriv", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()
    worker = WorkerProcess(tmp_path, "--dev", prefix=powerless)
    worker.settings.chmod(0o444)
    sentence = await refusal(worker)
    assert "settings.toml cannot be rewritten" in sentence
    assert "give" in sentence


@pytest.mark.parametrize(("taken", "other"), [("--port", "--ui-port"), ("--ui-port", "--port")])
async def test_a_port_in_use(tmp_path: Path, ollama: FakeOllama, taken: str, other: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        ports = (taken, str(port), other, str(free_port()))
        sentence = await refusal(WorkerProcess(tmp_path, "--dev", *ports, OLLAMA_HOST=ollama.url))
    assert sentence.startswith(f"Port {port} of 127.0.0.1 is in use")
    assert taken in sentence


async def test_no_server(tmp_path: Path, ollama: FakeOllama) -> None:
    address = f"127.0.0.1:{free_port()}"
    sentence = await refusal(WorkerProcess(tmp_path, OLLAMA_HOST=ollama.url, TEMPORAL_ADDRESS=address))
    assert sentence.startswith(f"No Temporal server answers at {address}")
    assert "worker.py --dev" in sentence


async def test_no_model(tmp_path: Path) -> None:
    host = f"http://127.0.0.1:{free_port()}"
    worker = WorkerProcess(tmp_path, *dev_ports(), "--no-embedded-model", OLLAMA_HOST=host)
    sentence = await refusal(worker)
    assert sentence.startswith(f"No Ollama answers at {host}")
    assert "ollama serve" in sentence


async def test_no_such_model_file(tmp_path: Path) -> None:
    sentence = await refusal(WorkerProcess(tmp_path, "--dev", "--gguf", "nowhere.gguf"))
    assert "nowhere.gguf" in sentence


async def test_a_second_dev_worker_in_the_same_folder(tmp_path: Path, ollama: FakeOllama) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with WorkerProcess(tmp_path, *dev_ports(), OLLAMA_HOST=ollama.url) as first:
        await first.awake()
        second = WorkerProcess(
            elsewhere, *dev_ports(), "--state-dir", str(tmp_path / ".state"), OLLAMA_HOST=ollama.url
        )
        sentence = await refusal(second)
        assert f"TEMPORAL_ADDRESS={first.server.address}" in sentence
        assert lives(first.server.pid)


async def test_a_state_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = await refusal(WorkerProcess(tmp_path, "--dev", "--state-dir", "file/state"))
    assert sentence.startswith("file/state cannot be written")


async def test_a_model_that_is_not_pulled_is_a_warning(tmp_path: Path, ollama: FakeOllama) -> None:
    ollama.script.models = ["qwen2.5:7b"]
    async with WorkerProcess(tmp_path, *dev_ports(), OLLAMA_HOST=ollama.url) as worker:
        await worker.awake()
        [line] = worker.err.splitlines()
        assert "`ollama pull llama3.1:8b`" in line
