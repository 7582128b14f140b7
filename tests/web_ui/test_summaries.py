"""The timeline of each workflow says in words what every bar of it is for."""

import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle

from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.web_ui.hostile import HOSTILE
from workflows.details.text import summary
from workflows.image_state import ImageStart
from workflows.living_image import LivingImage

SUMMARISED = (
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
)


async def summaries(handle: WorkflowHandle[Any, Any]) -> dict[str, set[str]]:
    """The summaries in a history by the kind of event. Fails where one is missing."""
    found: dict[str, set[str]] = {}
    async for event in handle.fetch_history_events():
        if event.event_type in SUMMARISED:
            kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
            assert event.user_metadata.summary.data, f"{kind} of {handle.id} has no summary"
            found.setdefault(kind, set()).add(event.user_metadata.summary.data.decode())
    return found


async def waits(handle: WorkflowHandle[Any, Any], what_for: str) -> bool:
    return what_for in (await summaries(handle)).get("TIMER_STARTED", ())


@pytest.fixture
async def soon_idle(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[World]:
    """One whose timer rings long before a test gives up on the next one."""
    async with World(client, ollama, tmp_path, {"motivator.idle_after": "10s"}) as running:
        yield running


async def test_every_activity_timer_and_child_says_what_it_is_for(soon_idle: World) -> None:
    world = soon_idle
    world.ollama.script.needs_research = True
    await world.ask("Why?", task_id="why")
    view = await world.pending_proposal()
    children = (await summaries(world.image))["START_CHILD_WORKFLOW_EXECUTION_INITIATED"]
    assert '"Why?"' in children
    assert len(children) == 2

    # A later run of the image finds the loop of an earlier one, and asks after it.
    state = await world.state()
    await world.image.terminate()
    await world.client.start_workflow(
        LivingImage.run,
        ImageStart(settings=state.settings, state=state),
        id=world.name,
        task_queue=world.name,
    )

    async def sweeping() -> bool:
        return "TIMER_STARTED" in await summaries(world.image)

    await until(sweeping)
    await world.loop(view.loop_id).signal("approve")
    await world.loop(view.loop_id).result()

    async def concluded() -> bool:
        return (await world.status()).revision == 2

    await until(concluded)
    # The image has just looked, so these wait for the next look; it would save itself long before.
    await until(partial(waits, world.image, '"Until the image saves itself"'))
    world.edit({"motivator.idle_after": "7d"})
    await world.update("reload_settings", None, dict)
    await world.record_logs(8)

    await until(partial(waits, world.image, '"Until the next look at the logs"'))
    image = await summaries(world.image)
    assert '"Ask after the children of an earlier run"' in image["ACTIVITY_TASK_SCHEDULED"]
    assert '"Read settings.toml"' in image["ACTIVITY_TASK_SCHEDULED"]
    loop = await summaries(world.loop(view.loop_id))
    assert loop["TIMER_STARTED"] == {'"The proposal expires"'}
    assert {'"Compare the proposal with settings.toml"', '"Rewrite settings.toml"'} < loop[
        "ACTIVITY_TASK_SCHEDULED"
    ]
    dialogue = await summaries(world.client.get_workflow_handle(f"{world.name}/task/why"))
    assert {'"ALFRED plans"', '"BABS researches"', '"ALFRED\'s synthesis"'} < dialogue[
        "ACTIVITY_TASK_SCHEDULED"
    ]


async def test_a_childs_summary_holds_nothing_that_the_web_ui_would_act_on(world: World) -> None:
    await world.ask(HOSTILE)
    (shown,) = (await summaries(world.image))["START_CHILD_WORKFLOW_EXECUTION_INITIATED"]
    assert shown == json.dumps(summary(HOSTILE), ensure_ascii=False)
