"""Whoever decides hears within seconds that it is decided, and what keeps it from being carried out."""

import json

from messages.loops import LoopConcluded
from testbed.world import World
from tests.approval import obstructed
from tests.desk.command_line import Ran, Starter


def told(ran: Ran) -> str:
    """What a command that was cut short said on stderr, below what it showed."""
    assert ran.code == 2
    return ran.err.splitlines()[-1]


async def test_an_approval_without_a_files_worker_says_that_it_is_taken_and_waits_for_one(
    world: World, starter: Starter
) -> None:
    view = await world.pending_proposal()
    await world.stop_files_worker()
    waits = told(await starter("approve", "--yes", "--by", "Ada"))
    assert waits.startswith(f"Your decision on {view.loop_id} is taken. It waits, because ")
    assert "no files worker has done it in time; run `python worker.py` where settings.toml is" in waits
    assert "goes on when that is mended" in waits

    status, again, shown, listed = await starter.each(
        ["status"], ["approve", "--yes"], ["show"], ["proposals"]
    )
    assert f"{view.loop_id} waits and tries again: no files worker" in status.out
    assert again.code == 1
    assert again.sentence.startswith(f"{view.loop_id} is decided already, by Ada. It waits, because ")
    assert "waits, because" in shown.out
    assert "No proposal waits for a person" in listed.out

    await world.start_files_worker()
    concluded: LoopConcluded = await world.loop(view.loop_id).result()
    assert (concluded.state, concluded.decided_by) == ("approved", "Ada")
    after = await starter("status", "--json")
    assert after.json["obstacles"] == {}


async def test_an_approval_without_the_file_says_that_it_is_taken_and_waits_for_it(
    world: World, starter: Starter
) -> None:
    view = await world.pending_proposal()
    elsewhere = world.file.rename(world.file.with_name("elsewhere.toml"))
    of_ours = ["--image", world.name]
    ran = await starter("approve", "--yes", "--by", "Ada", "--json", *of_ours)
    assert ran.out == ""
    assert f"Your decision on {view.loop_id} is taken." in told(ran)
    assert f"{world.file} cannot be read (No such file or directory); put the file there" in told(ran)
    status = await starter("status", "--json", *of_ours)
    assert list(json.loads(status.out)["obstacles"]) == [view.loop_id]
    elsewhere.rename(world.file)
    assert (await world.loop(view.loop_id).result()).state == "approved"


async def test_an_approval_before_there_is_a_proposal_says_what_that_waits_for(
    world: World, starter: Starter
) -> None:
    await world.record_reasons()
    await world.stop_files_worker()
    loop_id = await world.reflect()
    await obstructed(world, loop_id, "no files worker")
    ran = await starter("approve", "--yes")
    assert ran.code == 1
    begins = (
        f"{loop_id} has nothing to decide yet. It waits, because something is in the way: no files worker"
    )
    assert ran.sentence.startswith(begins)
    starter.environment = {"COLUMNS": "40"}
    status = await starter("status")
    assert (
        "no files worker has done it in time; run `python worker.py` where settings.toml is\n" in status.out
    )


async def test_what_needs_a_files_worker_says_so_where_there_is_none_and_cannot_be_done(
    world: World, starter: Starter
) -> None:
    world.edit({"models.temperature": 0.9})
    await world.update("reload_settings", None, dict)
    await world.stop_files_worker()
    for ran in await starter.each(["reload"], ["snapshot"], ["revert", "1", "--yes", "--by", "Ada"]):
        assert "no files worker has done it in time; run `python worker.py` where" in ran.err.splitlines()[-1]
        assert ran.code == 2
