"""A program of somebody's own is tuned through the door: it learns, a person approves, and it is verified."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from configuration import Value
from messages.image import ReloadReceipt
from messages.verification import KEPT
from testbed.fake_ollama import FakeOllama
from testbed.processes import ROOT
from testbed.world import World
from tests.door.conftest import Doorstep, opened
from tests.workflows.verified import looked_at

CUTOFF = "custom.cutoff.value"
README = (ROOT / "examples" / "README.md").read_text()


@pytest.fixture
async def spelling(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[Doorstep]:
    """An image with the knob that examples/README.md declares, whose approved changes are verified."""
    settings: dict[str, Value] = {"optimizer.verify_blocks": 40, "cadence.min_logs": 100}
    world = World(client, ollama, tmp_path, settings)
    declared = README.partition("```toml\n")[2].partition("```")[0]
    world.file.write_text(f"{world.file.read_text()}\n{declared}")
    async with world, opened(world) as doorstep:
        yield doorstep


async def work(doorstep: Doorstep, first: int, tasks: int) -> list[float]:
    """Run the program as its README says; the cutoffs that it was given."""
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            str(ROOT / "examples" / "spelling.py"),
            "--first",
            str(first),
            "--tasks",
            str(tasks),
        ),
        env={**os.environ, "LIVING_IMAGE_DOOR": doorstep.url},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    lines = out.decode().splitlines()
    assert len(lines) == tasks
    return [float(line.partition("cutoff ")[2].partition(",")[0]) for line in lines]


async def test_two_hundred_tasks_lead_to_one_approved_and_verified_change(spelling: Doorstep) -> None:
    world: World = spelling.world
    assert set(await work(spelling, 0, 40)) == {0.9}
    world.edit({CUTOFF: 0.8})
    await world.update("reload_settings", None, ReloadReceipt)
    assert set(await work(spelling, 40, 40)) == {0.8}
    view = await world.proposal(await world.reflect())
    [change] = view.changes
    assert (change.key, change.old) == (CUTOFF, 0.8)
    assert float(change.new) < 0.8
    await world.decide(view.loop_id)
    await world.loops_concluded()
    given: list[float] = []
    for first in range(80, 200, 10):
        given += await work(spelling, first, 10)
        # Tasks that came while a look was taken would still be compared.
        found = await looked_at(world)
    assert found.loop_id == view.loop_id
    assert found.verdict in KEPT
    assert found.effect and found.effect > 0
    compared = given[: 2 * found.blocks]
    assert compared.count(0.8) == compared.count(float(change.new)) == found.blocks
    assert set(given[2 * found.blocks :]) == {float(change.new)}
    assert world.on_file().flat()[CUTOFF] == change.new
    [entry] = [each for each in (await world.state()).ledger.amendments if each.loop_id == view.loop_id]
    assert entry.verified and entry.verified.verdict == found.verdict


async def test_what_makes_no_sense_is_refused_in_the_form_of_all_errors(spelling: Doorstep) -> None:
    log = {"task_id": "one", "final_dissonance": 0.5, "turn_count": 1, "outcome": "max_turns"}
    async with httpx.AsyncClient(base_url=spelling.url, timeout=60) as http:
        for path, message, status, code in (
            ("/assign", {"task_id": "a b"}, 400, "invalid_request"),
            ("/assign", {}, 409, "image_refused"),
            ("/performance", {**log, "final_dissonance": 2}, 400, "invalid_request"),
            ("/performance", {**log, "origin": "trial"}, 409, "image_refused"),
        ):
            answer = await http.post(path, json=message)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        assert (await http.post("/performance", json=log)).json()["accepted"] is True
        late = await http.post("/assign", json={"task_id": "one"})
        assert "the log of one is in already" in late.json()["error"]["message"]
