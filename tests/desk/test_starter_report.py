"""`starter.py report`, and the tables for a notebook, of one image from its birth to its retirement."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.testing import WorkflowEnvironment

from testbed.fake_ollama import FakeOllama
from testbed.world import World, exists, until
from tests.desk.command_line import Ran, Starter

SETTINGS: dict[str, Any] = {"optimizer.verify_blocks": 20}


@pytest.fixture(scope="module")
async def world(
    server: WorkflowEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One for all tests of this file, in their order."""
    folder = tmp_path_factory.mktemp("world")
    async with FakeOllama() as ollama, World(server.client, ollama, folder, SETTINGS) as running:
        yield running


def rows(ran: Ran) -> list[dict[str, str]]:
    assert ran.code == 0, ran.err
    return [*csv.DictReader(io.StringIO(ran.out))]


async def delete(world: World, workflow_id: str) -> None:
    """As the server does it when its retention is over."""
    of = WorkflowExecution(workflow_id=workflow_id)
    request = DeleteWorkflowExecutionRequest(namespace=world.client.namespace, workflow_execution=of)
    await world.client.workflow_service.delete_workflow_execution(request)

    async def gone() -> bool:
        listed = await world.client.count_workflows(f"WorkflowId = '{workflow_id}'")
        return not listed.count and not await exists(world.client.get_workflow_handle(workflow_id))

    await until(gone)


async def test_a_newborn_has_a_report_and_empty_tables(world: World, starter: Starter) -> None:
    told, logs, history = await starter.each(
        ["report", "newborn.html"], ["logs", "--csv", "-"], ["history", "--csv", "-"]
    )
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("The report is in newborn.html: ")
    assert "No argument has ended yet." in (starter.folder / "newborn.html").read_text()
    assert rows(logs) == rows(history) == []
    assert logs.out.startswith("task_id,task_type,final_dissonance,")
    assert history.out.startswith("amendment,revision,decided_at,state,key,old,new,")


async def test_what_cannot_be_written_is_told_in_a_sentence(world: World, starter: Starter) -> None:
    (starter.folder / "folder.html").mkdir()
    dash, text, nowhere, folder, table, both = await starter.each(
        ["report", "-"],
        ["report", "settings.toml"],
        ["report", "nowhere/life.html"],
        ["report", "folder.html"],
        ["logs", "--csv", "nowhere/logs.csv"],
        ["history", "--csv", "history.csv", "--json"],
    )
    for ran in (dash, text, nowhere, folder, table, both):
        assert ran.code == 2
    for ran in (dash, text):
        assert "name a file that ends in .html" in ran.sentence
    for ran in (nowhere, table):
        assert "cannot be written (No such file or directory)" in ran.sentence
    assert "folder.html cannot be written (Is a directory)" in folder.sentence
    assert both.sentence == "--csv and --json exclude each other. Choose one"
    assert not [file for file in starter.folder.iterdir() if file.suffix in (".new", ".csv")]


async def test_a_life_is_reported_as_far_as_it_can_be_read(world: World, starter: Starter) -> None:
    await world.ask("Q0?", task_id="t0")
    lost = await world.reflect()
    await world.loops_concluded()
    view = await world.pending_proposal()
    await world.decide(view.loop_id, approver="=Ada", comment="-1 turn")
    await world.loops_concluded()
    world.ollama.fail("refused", times=3, containing="Q3?")
    for number in range(1, 7):
        await world.submit(f"Q{number}?", task_id=f"t{number}")
    await world.tasks_finished()
    await delete(world, lost)
    await delete(world, f"{world.name}/task/t0")

    async def listed() -> bool:
        query = f"WorkflowId STARTS_WITH '{world.name}/task/' AND ExecutionStatus != 'Running'"
        return (await world.client.count_workflows(query)).count == 6

    await until(listed)
    ran = await starter("report", "life.html", "--json")
    page = (starter.folder / "life.html").read_text()
    told = {"file": str(starter.folder / "life.html"), "bytes": len(page.encode()), "loops": 1}
    assert (ran.code, ran.json) == (0, {**told, "arguments": 6})
    for words in (
        "1 of 7 finished tasks: the server has no dialogue of theirs.",
        f"Trials and findings of loops that the server no longer has: {lost}.",
        "Of 6 arguments: ",
        "Squares: means of 1 batch that began earlier",
        "1 failed.",
        "The verification under way",
        "Calls of the latest 5 tasks, without those that failed",
        "approved",
        "no proposal",
        "revision 2, ",
    ):
        assert words in page, words


async def test_tables_have_what_was_told_unrounded_and_no_formula(world: World, starter: Starter) -> None:
    logs, to_file, history = await starter.each(
        ["logs", "--csv", "-"], ["logs", "--csv", "logs.csv"], ["history", "--csv", "-"]
    )
    window = (await world.state()).window
    assert (starter.folder / "logs.csv").read_text() == logs.out
    assert to_file.out == ""
    [row] = [row for row in rows(logs) if row["task_id"] == "t6"]
    [log] = [log for log in window if log.task_id == "t6"]
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
    file.chmod(0o640)
    assert (await starter("retire", "--yes")).code == 0
    ran = await starter("report", "life.html")
    assert ran.code == 0, ran.err
    assert "retired (its workflow is completed)" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640
    assert not [*starter.folder.glob(".*.new")]
