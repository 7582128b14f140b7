"""What a person does with a browser in Temporal's Web UI."""

import json
from typing import Any
from urllib.parse import quote

from playwright.async_api import FrameLocator, Locator, Page, expect

# A page of the UI loads in two seconds on an idle machine.
PATIENCE_MILLISECONDS = 60_000
expect.set_options(timeout=PATIENCE_MILLISECONDS)


class Person:
    """At one tab of a browser. `web_ui` is the address of the UI."""

    def __init__(self, page: Page, web_ui: str) -> None:
        self.page = page
        self._workflows = f"{web_ui}/namespaces/default/workflows"
        page.set_default_timeout(PATIENCE_MILLISECONDS)

    async def opens(self, workflow_id: str) -> None:
        await self.page.goto(f"{self._workflows}/{quote(workflow_id, safe='')}")

    async def reads_details(self, workflow_id: str) -> FrameLocator:
        """Open a workflow's page at its current details."""
        await self.opens(workflow_id)
        await self.page.get_by_test_id("user-metadata-tab").click()
        frame = self.page.frame_locator("iframe#user-metadata-current-details")
        await expect(frame.get_by_role("heading", level=2)).to_be_visible()
        return frame

    async def enters_codec_server(self, url: str) -> None:
        """Have this tab ask a codec server for what is encrypted."""
        await self.page.get_by_test_id("data-encoder-status").first.click()
        dialog = self.page.get_by_role("dialog", name="Codec Server")
        await dialog.get_by_test_id("use-local-endpoint-input").click()
        await dialog.get_by_role("textbox").first.fill(url)
        await dialog.get_by_role("button", name="Apply").click()
        await expect(dialog).to_be_hidden()

    def summary(self) -> FrameLocator:
        """The summary of the workflow whose details are open."""
        return self.page.frame_locator("iframe#user-metadata-summary")

    async def follows(self, link: Locator) -> Page:
        """Click a link that opens a tab of its own."""
        async with self.page.expect_popup() as popup:
            await link.click()
        tab = await popup.value
        tab.set_default_timeout(PATIENCE_MILLISECONDS)
        return tab

    async def fills_in_update(self, name: str) -> Locator:
        return await self._fills_in("Send an Update", "update-select-button", name)

    async def sends_signal(self, name: str, data: Any = None) -> None:
        """Without data the field stays empty, as it is when nobody touches it."""
        dialog = await self._fills_in("Send a Signal", "signal-select-button", name)
        await self.submits(dialog, data)
        await expect(dialog).to_be_hidden()

    async def submits(self, dialog: Locator, data: Any = None) -> None:
        if data is not None:
            await dialog.get_by_role("textbox", name="Data").fill(json.dumps(data, indent=2))
        await dialog.get_by_test_id("confirm-modal-button").click()

    async def requests_cancellation(self) -> None:
        """Press the large blue button. The UI may keep its dialog open, whatever the server did."""
        await self.page.get_by_role("button", name="Request Cancellation").click()
        dialog = self.page.get_by_role("dialog").filter(has_text="Cancel Workflow")
        await dialog.get_by_test_id("confirm-modal-button").click()

    async def _fills_in(self, action: str, choice: str, name: str) -> Locator:
        await self.page.get_by_role("button", name="More Actions").click()
        await self.page.get_by_role("menuitem", name=action).click()
        dialog = self.page.get_by_role("dialog", name=action)
        await dialog.get_by_test_id(choice).click()
        exactly = self.page.get_by_text(name, exact=True)
        await dialog.get_by_role("option").filter(has=exactly).click()
        return dialog
