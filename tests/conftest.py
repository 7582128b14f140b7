"""A real Temporal dev server, real workers on real files, and a scripted Ollama server at the wire."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import hypothesis
import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from connection.asking import AskingAgain
from connection.codec import data_converter
from connection.namespace import ensure_search_attributes
from connection.server import connect
from messages.names import SEARCH_ATTRIBUTES
from runtime.dev_server import DYNAMIC_CONFIG, DevServer
from testbed import ports
from testbed.fake_ollama import FakeOllama
from testbed.processes import TEMPORAL
from testbed.world import World

# Where the main module has no file, as in the `python -c` of a runner that uses several processes, those that
# anyio starts have no main module at all, and dill asks for one.
MAIN = sys.modules["__main__"]
if getattr(MAIN, "__file__", None) is None:
    MAIN.__file__ = str(Path(__file__).with_name("__init__.py"))


# As many as a machine of two cores has time for in every run; a property may ask for more. An example may
# take as long as a busy machine makes it.
hypothesis.settings.register_profile(
    "usual", max_examples=50, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("usual")


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    """One dev server for the whole run, on a free port; every test lives under its own names in it."""
    async with await WorkflowEnvironment.start_local(
        data_converter=data_converter(),
        interceptors=[AskingAgain()],
        dev_server_existing_path=str(TEMPORAL),
        search_attributes=SEARCH_ATTRIBUTES,
        dev_server_extra_args=[
            part for setting in DYNAMIC_CONFIG for part in ("--dynamic-config-value", setting)
        ],
    ) as environment:
        yield environment


@pytest.fixture
def client(server: WorkflowEnvironment) -> Client:
    return server.client


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.fixture
async def world(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[World]:
    """A living image with its workers, its own settings.toml and the scripted Ollama server."""
    async with World(client, ollama, tmp_path) as running:
        yield running


@pytest.fixture
def free_ports() -> tuple[int, int]:
    return ports.free_ports()


@pytest.fixture
async def mortal_server(tmp_path: Path, free_ports: tuple[int, int]) -> AsyncIterator[DevServer]:
    """A server of the test's own, to be killed."""
    async with DevServer(tmp_path / "state", *free_ports) as server:
        await ensure_search_attributes(await connect(server.address))
        yield server
