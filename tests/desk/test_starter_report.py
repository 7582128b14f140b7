"""`starter.py report`, and the tables for a notebook, of an image from its birth to its retirement."""

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from connection.problems import Unknown
from desk.client import Desk
from desk.report.reading import argument_of, loop_of
from messages.names import dialogues_of
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.desk.command_line import Ran, Starter

SETTINGS: dict[str, Any] = {"optimizer.verify_blocks": 20}


@pytest.fixture
async def newborn(client: Client, ollama: FakeOllama, tmp_path: Path) -> AsyncIterator[Starter]:
    """The command line of an image in which nothing has happened."""
    async with World(client, ollama, tmp_path) as world:
        yield Starter(tmp_path, world.address)


@pytest.fixture(scope="module")
async def world(
    server: WorkflowEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A life for all tests of this file; the last of them ends it."""
    folder = tmp_path_factory.mktemp("world")
    async with FakeOllama() as ollama, World(server.client, ollama, folder, SETTINGS) as running:
        await lived(running)
        yield running


async def lived(world: World) -> None:
    """A look without a proposal, an approval, six tasks of which one fails, and a log from outside."""
    await world.reflect()
    await world.loops_concluded()
    view = await world.pending_proposal()
    await world.decide(view.loop_id, approver="=Ada", comment="-1 turn")
    await world.loops_concluded()
    world.ollama.fail("refused", times=3, containing="Q3?")
    for number in range(6):
        await world.submit(f"Q{number}?", task_id=f"t{number}")
    await world.tasks_finished()
    await world.record_logs(1)
    await until(partial(listed, world, 6))


async def listed(world: World, tasks: int) -> bool:
    """Whether the server lists so many ended tasks; its lists lag behind."""
    query = f"{dialogues_of(world.name)} AND ExecutionStatus != 'Running'"
    return (await world.client.count_workflows(query)).count == tasks


def rows(ran: Ran) -> list[dict[str, str]]:
    assert ran.code == 0, ran.err
    return [*csv.DictReader(io.StringIO(ran.out))]


async def test_a_newborn_has_a_report_and_an_empty_table(newborn: Starter) -> None:
    told, history = await newborn.each(["report", "newborn.html"], ["history", "--csv", "-"])
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("The report is in newborn.html: ")
    assert "No argument has ended yet." in (newborn.folder / "newborn.html").read_text()
    assert rows(history) == []
    assert history.out.startswith("amendment,revision,decided_at,state,key,old,new,")


async def test_what_cannot_be_written_is_told_in_a_sentence(newborn: Starter) -> None:
    (newborn.folder / "folder.html").mkdir()
    dash, nowhere, folder, both = await newborn.each(
        ["report", "-"],
        ["report", "nowhere/life.html"],
        ["report", "folder.html"],
        ["history", "--csv", "history.csv", "--json"],
    )
    assert {ran.code for ran in (dash, nowhere, folder, both)} == {2}
    assert "name a file that ends in .html" in dash.sentence
    assert "nowhere/life.html cannot be written (No such file or directory)" in nowhere.sentence
    assert "folder.html cannot be written (Is a directory)" in folder.sentence
    assert both.sentence == "--csv and --json exclude each other. Choose one"
    assert not [file for file in newborn.folder.iterdir() if file.suffix in (".new", ".csv")]


async def test_a_life_is_reported_with_all_that_is_on_record(world: World, starter: Starter) -> None:
    ran = await starter("report", "life.html", "--json")
    page = (starter.folder / "life.html").read_text()
    told = {
        "file": str(starter.folder / "life.html"),
        "bytes": len(page.encode()),
        "arguments": 6,
        "loops": 2,
    }
    assert (ran.code, ran.json) == (0, told)
    for words in (
        "Of 6 arguments: 5 converged, 0 max_turns, 1 failed.",
        "The verification under way",
        "Calls of the latest 5 tasks, without those that failed",
        "the ledger has 1 approved, 1 no proposal",
        "revision 2, ",
        "1 log from outside without a time.",
    ):
        assert words in page, words


async def test_what_the_server_has_lost_is_left_out(world: World) -> None:
    desk = Desk(world.client, world.name)
    found = [each async for each in world.client.list_workflows(dialogues_of(world.name))]
    lost = replace(found[0], run_id=str(uuid4()), status=WorkflowExecutionStatus.COMPLETED)
    assert await argument_of(desk, lost) is None
    assert isinstance(await loop_of(desk, f"{world.name}/loop/9"), Unknown)
    known = [await argument_of(desk, each) for each in found]
    assert sorted(each.task_id for each in known if each) == [f"t{number}" for number in range(6)]
    assert [each.tokens for each in known if each and each.outcome == "failed"] == [None]


async def test_tables_have_what_was_told_unrounded_and_no_formula(world: World, starter: Starter) -> None:
    logs, history = await starter.each(["logs", "--csv", "logs.csv"], ["history", "--csv", "-"])
    assert (logs.code, logs.out) == (0, "")
    window = (await world.state()).window
    with (starter.folder / "logs.csv").open() as file:
        [row] = [row for row in csv.DictReader(file) if row["task_id"] == "t5"]
    [log] = [log for log in window if log.task_id == "t5"]
    assert float(row["seconds"]) == log.seconds
    assert datetime.fromisoformat(row["finished_at"]) == log.finished_at
    assert int(row["autopoiesis.max_turns"]) == log.active_heuristics["autopoiesis.max_turns"]
    none, approved = rows(history)
    assert (none["amendment"], none["key"], none["state"]) == ("1", "", "no_proposal")
    change = [approved[name] for name in ("amendment", "state", "key", "old", "new")]
    assert change == ["2", "approved", "autopoiesis.max_turns", "2", "3"]
    assert (approved["decided_by"], approved["comment"]) == ("'=Ada", "'-1 turn")
    assert datetime.fromisoformat(none["decided_at"]).utcoffset() is not None


async def test_a_retired_image_is_reported_in_the_place_of_an_older_report(
    world: World, starter: Starter
) -> None:
    file = starter.folder / "life.html"
    file.write_text("An older report.")
    file.chmod(0o640)
    assert (await starter("retire", "--yes")).code == 0
    ran = await starter("report", "life.html")
    assert ran.code == 0, ran.err
    assert "retired (its workflow is completed)" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640
    assert not [*starter.folder.glob(".*.new")]
