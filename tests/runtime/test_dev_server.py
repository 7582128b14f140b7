"""The dev server holds the image: ready for it, alone on its data, and back again when it was killed."""

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from connection.problems import Problem
from connection.server import ServerUnreachable, connect
from connection.web_ui import RECORD, Record, known_web_ui
from runtime.dev_server import run_dev_server
from testbed.processes import TEMPORAL
from testbed.world import until
from tests.runtime.worker_process import lives

ATTRIBUTES = {"NeedsHuman", "ImagePhase", "SettingsRevision"}


async def attributes(client: Client) -> set[str]:
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace="default")
    )
    return set(listed.custom_attributes)


async def retention(client: Client) -> timedelta:
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace="default")
    )
    return described.config.workflow_execution_retention_ttl.ToTimedelta()


async def test_it_is_ready_for_the_image_and_shows_its_web_ui(
    tmp_path: Path, free_ports: tuple[int, int]
) -> None:
    async with run_dev_server(tmp_path, *free_ports) as (server, client):
        assert await attributes(client) >= ATTRIBUTES
        assert await retention(client) == timedelta(days=3650)
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            assert (await http.get(server.web_ui)).status_code == 200
        assert known_web_ui(server.address, tmp_path) == server.web_ui
        assert known_web_ui(server.address.replace("127.0.0.1", "localhost"), tmp_path) == server.web_ui
        assert known_web_ui("127.0.0.1:1", tmp_path) is None
        pid = server.pid
    assert not lives(pid)
    assert known_web_ui(server.address, tmp_path) is None


@contextmanager
def plain_server(state_dir: Path, ports: tuple[int, int]) -> Iterator[tuple[str, psutil.Process]]:
    """Somebody else's server, on the database that our own would use."""
    port, ui_port = ports
    options = {"--ip": "127.0.0.1", "--port": str(port), "--ui-port": str(ui_port), "--log-level": "error"}
    flags = [part for option in options.items() for part in option]
    database = str(state_dir / "temporal.db")
    with subprocess.Popen([TEMPORAL, "server", "start-dev", *flags, "--db-filename", database]) as process:
        yield f"127.0.0.1:{port}", psutil.Process(process.pid)
        process.terminate()


async def connected(address: str) -> Client | None:
    try:
        return await connect(address)
    except ServerUnreachable:
        return None


async def test_a_database_that_knows_nothing_of_images_is_made_ready_as_well(
    tmp_path: Path, free_ports: tuple[int, int]
) -> None:
    with plain_server(tmp_path, free_ports) as (address, _):
        client = await until(lambda: connected(address))
        assert not await attributes(client) & ATTRIBUTES
    async with run_dev_server(tmp_path, *free_ports) as (_, client):
        assert await attributes(client) >= ATTRIBUTES
        assert await retention(client) == timedelta(days=3650)


async def test_killed_it_comes_back_on_its_ports_with_its_data(
    tmp_path: Path, free_ports: tuple[int, int]
) -> None:
    async with run_dev_server(tmp_path, *free_ports) as (server, client):
        await client.start_workflow("SomeWorkflow", id="some-workflow", task_queue="nobody")
        pid = server.pid
        server.process.kill()

        async def back() -> bool:
            return server.pid != pid and await server.is_ready()

        await until(back)
        assert (await client.get_workflow_handle("some-workflow").describe()).id == "some-workflow"
        assert known_web_ui(server.address, tmp_path) == server.web_ui
        pid = server.pid
    assert not lives(pid)


async def test_a_port_in_use_is_named_with_what_to_do(tmp_path: Path, free_ports: tuple[int, int]) -> None:
    port, ui_port = free_ports
    with socket.create_server(("127.0.0.1", port)), pytest.raises(Problem) as caught:
        await run_dev_server(tmp_path, port, ui_port).__aenter__()
    assert str(caught.value) == (
        f"Port {port} of 127.0.0.1 is in use by another program (Address already in use); stop it, "
        "or choose another port with --port, "
        f"or use it with TEMPORAL_ADDRESS=127.0.0.1:{port} if it is a Temporal server"
    )


async def test_a_second_one_on_the_same_data_is_refused(tmp_path: Path, free_ports: tuple[int, int]) -> None:
    async with run_dev_server(tmp_path, *free_ports) as (server, client):
        with pytest.raises(Problem, match=f"TEMPORAL_ADDRESS={server.address}"):
            await run_dev_server(tmp_path, *free_ports).__aenter__()
        assert await attributes(client) >= ATTRIBUTES


async def test_a_server_that_was_started_in_another_way_makes_room_and_its_data_stay(
    tmp_path: Path, free_ports: tuple[int, int]
) -> None:
    """As a worker of before left it: its database named by the whole path."""
    with plain_server(tmp_path, free_ports) as (address, left):
        client = await until(lambda: connected(address))
        await client.start_workflow("SomeWorkflow", id="some-workflow", task_queue="nobody")
        record = Record(
            pid=left.pid,
            create_time=left.create_time(),
            command=left.cmdline(),
            address=address,
            web_ui=f"http://127.0.0.1:{free_ports[1]}",
        )
        (tmp_path / RECORD).write_text(record.model_dump_json())
        async with run_dev_server(tmp_path, *free_ports) as (server, client):
            assert not lives(left.pid)
            assert server.pid != left.pid
            assert (await client.get_workflow_handle("some-workflow").describe()).id == "some-workflow"


async def test_a_recorded_process_id_that_is_used_again_is_left_alone(
    tmp_path: Path, free_ports: tuple[int, int]
) -> None:
    stranger = await asyncio.create_subprocess_exec("sleep", "600")
    port, ui_port = free_ports
    record = Record(
        pid=stranger.pid,
        create_time=1.0,
        command=["temporal"],
        address=f"127.0.0.1:{port}",
        web_ui=f"http://127.0.0.1:{ui_port}",
    )
    (tmp_path / RECORD).write_text(record.model_dump_json())
    try:
        assert known_web_ui(record.address, tmp_path) is None
        async with run_dev_server(tmp_path, port, ui_port) as (server, _):
            assert server.pid != stranger.pid
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()
