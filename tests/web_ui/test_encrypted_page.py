"""What is encrypted for the server is read in its Web UI by a person whom a codec server tells."""

from pathlib import Path

from playwright.async_api import Browser, expect

from connection.sealing import VARIABLE
from testbed.fake_ollama import FakeOllama
from testbed.ports import free_ports
from testbed.world import World
from tests.connection.encrypted import OLD, client_with
from tests.desk.command_line import Starter
from tests.web_ui.conftest import WebUI
from tests.web_ui.person import Person

TASK = "Should a heron wade or wait?"


async def test_the_pages_are_readable_with_a_codec_server(
    web_ui: WebUI, browser: Browser, ollama: FakeOllama, tmp_path: Path
) -> None:
    keyed = await client_with(web_ui.client.service_client.config.target_host, OLD)
    environment = {VARIABLE: OLD}
    starter = Starter(tmp_path, "127.0.0.1:1", **environment)
    # A browser keeps what was entered; this one is nobody else's.
    page = await browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    person = Person(page, web_ui.address)
    async with World(keyed, ollama, tmp_path) as world:
        receipt = await world.submit(TASK)
        await world.result(receipt)
        port = str(free_ports()[0])
        process = await starter.begin("codec", "--port", port, "--web-ui", web_ui.address)
        try:
            assert process.stdout is not None
            assert port in (await process.stdout.readline()).decode()
            await person.opens(receipt.workflow_id)
            await person.enters_codec_server(f"http://127.0.0.1:{port}")
            await person.opens(receipt.workflow_id)
            await expect(page.locator("body")).to_contain_text(TASK)
            details = await person.reads_details(world.name)
            await expect(details.get_by_role("heading", level=2)).to_have_text(f"Living image {world.name}")
        finally:
            starter.stop_all()
            await page.close()
