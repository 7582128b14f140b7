"""A person reads and decides in Temporal's Web UI, in a real browser."""

import json
from typing import Any

import pytest
from playwright.async_api import expect
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from messages.loops import ProposalView
from testbed.world import World, until
from tests.web_ui.hostile import HOSTILE
from tests.web_ui.person import Person


async def indexed(world: World, loop_id: str, waits: bool) -> None:
    """Until the server's index of workflows, which lags a moment behind, has a loop in the inbox, or not."""

    async def as_expected() -> bool:
        query = f"NeedsHuman = true AND WorkflowId = '{loop_id}'"
        return ((await world.client.count_workflows(query)).count > 0) == waits

    await until(as_expected)


async def cancellation_requested(handle: WorkflowHandle[Any, Any]) -> None:
    async def in_history() -> bool:
        kinds = [event.event_type async for event in handle.fetch_history_events()]
        return EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED in kinds

    await until(in_history)


async def test_the_image_page_leads_to_the_proposal_and_to_the_inbox(world: World, person: Person) -> None:
    view = await world.pending_proposal()
    await indexed(world, view.loop_id, waits=True)
    details = await person.reads_details(world.name)
    await expect(details.get_by_role("heading", level=2)).to_have_text(f"Living image {world.name}")
    await expect(details.get_by_text("More Actions > Send an Update")).to_be_visible()

    loop = await person.follows(details.get_by_role("link", name=view.loop_id))
    await expect(loop.get_by_role("heading", level=1, name=view.loop_id)).to_be_visible()
    await loop.close()

    inbox = await person.follows(details.get_by_role("link", name="everything that waits for a person"))
    await expect(inbox.get_by_role("link", name=view.loop_id, exact=True)).to_be_visible()
    await world.loop(view.loop_id).signal("reject", "Ada")
    await indexed(world, view.loop_id, waits=False)
    await inbox.get_by_role("button", name="Refresh").click()
    await expect(inbox.get_by_text("No Workflows")).to_be_visible()
    await inbox.close()


async def test_a_proposal_is_decided_with_the_data_its_page_shows(world: World, person: Person) -> None:
    before = world.file.read_text()
    view = await world.pending_proposal()
    details = await person.reads_details(view.loop_id)

    diff = details.locator("pre").first
    assert await diff.evaluate("shown => shown.textContent") == view.diff
    await expect(diff.get_by_text("-max_turns = 2")).to_have_css("color", "rgb(198, 40, 40)")
    await expect(diff.get_by_text("+max_turns = 3")).to_have_css("color", "rgb(46, 125, 50)")
    for shown in (view.justification, view.expected_effect, *view.evidence):
        await expect(details.get_by_text(shown, exact=True)).to_be_visible()
    steps = await details.locator("ol > li").all_inner_texts()
    assert "More Actions > Send an Update" in steps[0]
    assert "decide" in steps[1]
    answer = json.loads(await details.locator("pre").last.inner_text())

    dialog = await person.fills_in_update("decide")
    await person.submits(dialog, {**answer, "approver": "Ada", "proposal_digest": "0123456789ab"})
    await expect(dialog).to_contain_text(f"is not this proposal's, which is {view.digest}")
    assert world.file.read_text() == before
    assert (await world.proposal(view.loop_id)).state == "pending"

    await person.submits(dialog, {**answer, "approver": "Ada"})
    await expect(dialog).to_be_hidden()
    await world.loops_concluded()
    assert world.file.read_text() == before.replace("max_turns = 2\n", "max_turns = 3\n")
    status = await world.status()
    assert (status.revision, status.digest) == (2, world.on_file().digest())


@pytest.mark.parametrize(("data", "approver"), [(None, "somebody, by signal"), ("Grace", "Grace")])
async def test_the_signal_approves(world: World, person: Person, data: Any, approver: str) -> None:
    view = await world.pending_proposal()
    await person.opens(view.loop_id)
    await person.sends_signal("approve", data)
    await world.loops_concluded()
    (entry,) = (await world.state()).ledger.amendments
    assert (entry.state, entry.decided_by, entry.revision) == ("approved", approver, 2)
    assert world.on_file().autopoiesis.max_turns == 3


async def test_request_cancellation_changes_nothing(world: World, person: Person) -> None:
    view = await world.pending_proposal()
    for handle in (world.loop(view.loop_id), world.image):
        await person.opens(handle.id)
        await person.requests_cancellation()
        await cancellation_requested(handle)
    assert await world.loop(view.loop_id).query("proposal", result_type=ProposalView) == view
    result = await world.ask("Do you still take a task?")
    assert result.outcome == "converged"
    await world.loop(view.loop_id).signal("approve")
    await world.loops_concluded()
    assert (await world.status()).revision == 2


async def test_hostile_text_is_shown_as_the_text_it_is(world: World, person: Person) -> None:
    await world.ask(HOSTILE, task_id="hostile")
    await world.image.signal("task_completed", HOSTILE)
    view = await world.pending_proposal()
    await world.loop(view.loop_id).signal("reject", {"approver": HOSTILE[:80], "comment": HOSTILE[:400]})
    await world.loops_concluded()

    for workflow_id, shown in (
        (f"{world.name}/task/hostile", HOSTILE),
        (world.name, HOSTILE[:60]),
        (view.loop_id, HOSTILE[:400]),
    ):
        details = await person.reads_details(workflow_id)
        text = await details.locator("main").inner_text()
        assert " ".join(shown.split()) in " ".join(text.split())
        assert "Press R to bring this page up to date" in text
        for frame in (details, person.summary()):
            await expect(frame.locator("main")).to_be_visible()
            for tag in ("h1", "style", "details", "script", "img", "[href*='example.org']"):
                assert await frame.locator(f"main {tag}").count() == 0
