"""A dev server with its Web UI, as `worker.py --dev` starts it, and a person with a browser."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from playwright.async_api import Browser
from temporalio.client import Client

from runtime.dev_server import run_dev_server
from testbed.ports import free_ports
from tests.web_ui.chromium import CHROMIUM, NO_CHROMIUM, running_chromium
from tests.web_ui.person import Person


class WebUI(NamedTuple):
    client: Client
    address: str


@pytest.fixture(scope="session")
async def web_ui(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WebUI]:
    async with run_dev_server(tmp_path_factory.mktemp("state"), *free_ports()) as (server, client):
        yield WebUI(client, server.web_ui)


@pytest.fixture
def client(web_ui: WebUI) -> Client:
    return web_ui.client


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    async with running_chromium() as running:
        yield running


@pytest.fixture(scope="session")
async def person(browser: Browser, web_ui: WebUI) -> Person:
    """One tab for all tests: the UI's own files are then loaded once."""
    # The timeline of a running workflow moves, which costs a machine without a graphics card half a core.
    page = await browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    return Person(page, web_ui.address)
