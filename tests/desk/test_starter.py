"""Every command of `starter.py` on a living image."""

import os
import pty
import signal
from asyncio.subprocess import Process

import psutil

from messages.image import ImageStatus
from messages.loops import LoopConcluded, ProposalView
from messages.tasks import DialogueResult, PerformanceLog, TaskReceipt, TaskView
from testbed.world import World, until
from tests.desk.command_line import Starter


async def read_until(process: Process, words: str, stream: str = "stdout") -> str:
    """What a command prints until some words."""
    reader = process.stdout if stream == "stdout" else process.stderr
    assert reader is not None
    text = ""
    while words not in text:
        line = await reader.readline()
        assert line, f"ended without {words!r}: {text}"
        text += line.decode()
    return text


# --- tasks ---


async def test_ask_prints_the_synthesis_and_the_dissonance_of_each_turn(
    world: World, starter: Starter
) -> None:
    world.ollama.script.labels = ["unrelated", "partly_different"]
    ran = await starter("ask", "Should a town plant trees?", "--type", "debate")
    assert (ran.code, ran.err) == (0, "")
    for words in ("Synthesis", "This is answer", "0.70 (unrelated)", "0.30 (partly different)"):
        assert words in ran.out
    for words in ("converged", "ollama", "revision 1"):
        assert words in ran.out
    [task] = (await world.state()).finished
    assert (task.task, task.task_type) == ("Should a town plant trees?", "debate")


async def test_ask_as_json_prints_the_result_and_nothing_else(starter: Starter) -> None:
    ran = await starter(
        "ask", "-", "--task-id", "mine", "--json", "--follow", stdin="Où est l'été?\n".encode()
    )
    assert ran.code == 0
    result = DialogueResult.model_validate(ran.json)
    assert (result.task_id, result.outcome, len(result.dissonance)) == ("mine", "converged", 1)
    assert "Turn 1" in ran.err


async def test_a_turn_without_dissonance_is_shown_as_such(world: World, starter: Starter) -> None:
    world.ollama.fail("not_json", times=100, asks="dissonance")
    ran = await starter("ask", "Is it so?")
    assert ran.code == 0
    assert "none given" in ran.out


async def test_the_same_task_id_is_the_same_task_and_can_be_waited_for_again(
    world: World, starter: Starter
) -> None:
    first = await starter("ask", "Is it so?", "--task-id", "once", "--json")
    again = await starter("ask", "Is it so?", "--task-id", "once", "--json")
    without_task = await starter("ask", "--task-id", "once", "--json")
    assert first.json == again.json == without_task.json
    assert (await world.status()).finished == 1


async def test_follow_shows_each_turn_as_it_comes(world: World, starter: Starter) -> None:
    world.ollama.script.labels = ["unrelated", "same"]
    world.ollama.script.delay_seconds = 0.5
    process = await starter.begin("ask", "Is it so?", "--follow")
    # Plan, thesis, antithesis, judgement; the fifth call is the thesis of turn 2, and it is held back.
    await world.ollama.until(lambda: len(world.ollama.calls) == 5)
    world.ollama.answering.clear()
    shown = await read_until(process, "0.70 (unrelated)")
    assert shown.index("ALFRED") < shown.index("Turn 1") < shown.index("BRICK") < shown.index("ROBIN")
    world.ollama.answering.set()
    rest = await starter.end(process)
    assert rest.code == 0
    assert rest.out.index("Turn 2") < rest.out.index("0.00 (same)") < rest.out.index("Synthesis")


async def test_a_queued_task_says_its_place_and_goes_on_after_ctrl_c(world: World, starter: Starter) -> None:
    world.ollama.answering.clear()
    for task in ("one", "two"):
        await world.submit(task)
    receipt = await starter("ask", "three", "--no-wait", "--json")
    assert TaskReceipt.model_validate(receipt.json).position == 1
    process = await starter.begin("ask", "four", "--task-id", "four")
    assert "waits in the queue, place 2" in await read_until(process, "place", "stderr")
    process.send_signal(signal.SIGINT)
    ran = await starter.end(process)
    assert ran.code == 130
    assert ran.sentence == "The task goes on; wait for it again: python starter.py ask --task-id four"
    world.ollama.answering.set()
    assert (await starter("ask", "--task-id", "four")).code == 0


async def test_a_task_whose_time_is_over_goes_on(world: World, starter: Starter) -> None:
    world.ollama.answering.clear()
    ran = await starter("ask", "Is it so?", "--task-id", "slow", "--timeout", "1s")
    assert ran.code == 2
    assert ran.sentence.startswith("No result within 1s. The task goes on; wait for it again: ")
    world.ollama.answering.set()
    assert (await starter("ask", "--task-id", "slow")).code == 0


# --- looking ---


async def test_start_says_whether_the_image_was_started_or_lives_already(
    world: World, starter: Starter
) -> None:
    lives = await starter("start")
    assert (lives.code, lives.out) == (
        0,
        f"The living image '{world.name}' lives already at {starter.address}.\n",
    )
    name = f"{world.name}-2"
    world.edit({"system.image_id": name})
    started = await starter("start")
    assert (started.code, started.out) == (
        0,
        f"The living image '{name}' was started at {starter.address}.\n",
    )
    assert ImageStatus.model_validate((await starter("status", "--json")).json).image_id == name


async def test_everything_that_reads_speaks_tables_and_json(world: World, starter: Starter) -> None:
    pending = await world.pending_proposal()
    await world.ask("Is it so?", task_id="mine")

    commands = ("status", "tasks", "logs", "proposals", "show")
    status, tasks, logs, proposals, shown = await starter.each(*([name, "--json"] for name in commands))
    assert (status.json["phase"], status.json["workflow"]) == ("active", "running")
    assert status.json["waiting_loops"] == [pending.loop_id]
    assert [TaskView.model_validate(task).task_id for task in tasks.json] == ["mine"]
    assert [PerformanceLog.model_validate(log).outcome for log in logs.json][-1] == "converged"
    assert [ProposalView.model_validate(view) for view in proposals.json] == [pending]
    assert ProposalView.model_validate(shown.json) == pending

    expected = (
        ("status", world.name, "active", pending.loop_id, "revision 1", "NeedsHuman = true"),
        ("tasks", "mine", "finished", "converged", "Is it so?"),
        ("logs", "mine", "0.30", "max_turns", "1.00"),
        ("proposals", pending.loop_id, "autopoiesis.max_turns: 2 → 3"),
        ("show", pending.digest, "-max_turns = 2", "+max_turns = 3", pending.justification, "mean tokens"),
        ("amendments", "No amendments yet"),
    )
    looks = await starter.each(*([command] for command, *_ in expected))
    for ran, (command, *words) in zip(looks, expected, strict=True):
        assert (ran.code, ran.err) == (0, "")
        for word in words:
            assert word in ran.out, command


async def test_history_and_revert_lead_back_to_an_earlier_revision(world: World, starter: Starter) -> None:
    await world.ask("Before?")
    world.edit({"autopoiesis.max_turns": 3})
    assert (await starter("reload")).code == 0
    told = await starter("history")
    assert "autopoiesis.max_turns: 2 → 3" in told.out
    assert "before: 1 argument (0 failed), mean dissonance 0.3, turns 1" in told.out
    assert "after:  no arguments on record" in told.out
    assert "arguments under them   no arguments on record" in (await starter("status")).out
    asked = await starter("revert", "1")
    assert (asked.code, "autopoiesis.max_turns: 3 → 2" in asked.err) == (2, True)
    assert world.on_file().autopoiesis.max_turns == 3
    ran = await starter("revert", "1", "--yes", "--comment", "no gain")
    assert "settings.toml holds revision 1 again, as revision 3" in ran.out
    assert world.on_file().autopoiesis.max_turns == 2
    entries = (await starter("history", "--json")).json
    assert [entry["amendment"]["source"] for entry in entries] == ["person", "revert to revision 1"]
    for options in (["--yes"], []):
        again = await starter("revert", "1", *options)
        assert again.code == 1
        assert "the settings are those of revision 1 already" in again.sentence


async def test_status_shows_a_refused_settings_file_and_what_was_set_aside(
    world: World, starter: Starter
) -> None:
    world.edit({"autopoiesis.max_turns": 99})
    refused = await starter("reload")
    assert refused.code == 1
    assert "max_turns = 99" in refused.sentence
    await world.image.signal("task_completed", "[bold]nonsense[/bold]")
    ran = await starter("status")
    assert "settings.toml was refused: " in ran.out
    assert "max_turns = 99" in ran.out
    assert "[bold]nonsense[/bold]" in ran.out


async def test_no_text_of_others_controls_the_terminal(world: World, starter: Starter) -> None:
    await world.submit("\x1b]0;owned\x07 \x9b31m [red]red[/red] \u202egnp.exe")
    for ran in await starter.each(["tasks"], ["tasks", "--json"]):
        assert ran.code == 0
        assert not set("\x1b\x07\x9b\u202e") & set(ran.out)
        assert "[red]red[/red]" in ran.out


# --- deciding ---


async def test_approve_takes_the_only_pending_proposal_and_rewrites_the_file(
    world: World, starter: Starter
) -> None:
    pending = await world.pending_proposal()
    ran = await starter("approve", "--yes", "--comment", "more room")
    assert ran.code == 0
    assert "+max_turns = 3" in ran.out
    said = (
        f"approved: {pending.loop_id}, by marie\nsettings.toml was rewritten:\n  autopoiesis.max_turns: 2 → 3"
    )
    assert ran.out.rstrip().endswith(said)
    assert world.on_file().autopoiesis.max_turns == 3
    await world.loops_concluded()
    ledger = await starter("amendments", "--json")
    [entry] = ledger.json
    assert (entry["state"], entry["decided_by"], entry["comment"]) == ("approved", "marie", "more room")
    assert "more room" in (await starter("amendments")).out


async def test_approving_twice_says_that_it_is_decided(world: World, starter: Starter) -> None:
    pending = await world.pending_proposal()
    number = pending.loop_id.rpartition("/")[2]
    ran = await starter("approve", f"loop/{number}", "--yes", "--json", "--by", "Ada")
    assert ran.code == 0
    assert LoopConcluded.model_validate(ran.json).decided_by == "Ada"
    again = await starter("approve", number, "--yes")
    assert (again.code, again.sentence) == (1, f"{pending.loop_id} has nothing to decide: approved by Ada.")
    await world.loops_concluded()
    none = await starter("approve", "--yes")
    assert none.code == 1
    assert none.sentence.startswith(f"No proposal of {world.name} waits for a person.")


async def test_approve_with_own_values_writes_those(world: World, starter: Starter) -> None:
    pending = await world.pending_proposal()
    ran = await starter("approve", pending.loop_id, "--yes", "--set", "autopoiesis.max_turns=4")
    assert ran.code == 0
    assert "Your own value: autopoiesis.max_turns = 4" in ran.out
    assert world.on_file().autopoiesis.max_turns == 4


async def test_reject_leaves_the_file_as_it_is(world: World, starter: Starter) -> None:
    before = world.file.read_text()
    pending = await world.pending_proposal()
    ran = await starter("reject", "--yes", "--comment", "not now")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith(f"rejected: {pending.loop_id}, by marie\n")
    assert world.file.read_text() == before
    shown = await starter("show", pending.loop_id)
    assert "rejected" in shown.out
    assert "not now" in shown.out


async def test_a_stale_proposal_is_a_no(world: World, starter: Starter) -> None:
    await world.pending_proposal()
    world.edit({"autopoiesis.max_turns": 5})
    ran = await starter("approve", "--yes")
    assert ran.code == 1
    assert "stale: " in ran.out
    assert world.on_file().autopoiesis.max_turns == 5


async def test_approve_asks_the_person_at_the_terminal(world: World, starter: Starter) -> None:
    pending = await world.pending_proposal()
    for answer, code in (("n", 1), ("y", 0)):
        ours, theirs = pty.openpty()
        process = await starter.begin("approve", stdin=theirs)
        os.close(theirs)
        shown = await read_until(process, "mean tokens")
        assert "+max_turns = 3" in shown
        os.write(ours, f"{answer}\n".encode())
        ran = await starter.end(process)
        os.close(ours)
        assert ran.code == code, ran
        assert f"Approve {pending.loop_id}?" in ran.err
        assert world.on_file().autopoiesis.max_turns == (3 if answer == "y" else 2)


async def test_ctrl_c_at_the_question_decides_nothing(world: World, starter: Starter) -> None:
    pending = await world.pending_proposal()
    ours, theirs = pty.openpty()
    process = await starter.begin("approve", stdin=theirs)
    assert process.stderr is not None
    await process.stderr.readuntil(b"[y/N]:")

    async def waiting() -> bool:
        return psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING

    await until(waiting)  # interrupted while it still writes the question, Python would write it once more
    process.send_signal(signal.SIGINT)
    ran = await starter.end(process)
    os.close(ours)
    os.close(theirs)
    assert (ran.code, ran.err.strip()) == (130, "Nothing was done")
    assert (await world.proposal(pending.loop_id)).state == "pending"


async def test_reflect_waits_for_the_proposal_or_the_reason_for_none(world: World, starter: Starter) -> None:
    none = await starter("reflect", "--wait", "--reason", "curious")
    assert none.code == 0
    assert "no proposal" in none.out.replace("_", " ")
    await world.loops_concluded()
    await world.record_reasons()
    ran = await starter("reflect", "--wait", "--json")
    assert ran.code == 0
    view = ProposalView.model_validate(ran.json)
    assert view.state == "pending"
    assert (await starter("reflect", "--json")).json == {"loop_id": view.loop_id}
    starter.environment = {"COLUMNS": "40"}
    see = f"See: python starter.py show {view.loop_id}"
    assert (await starter("reflect")).out == f"The image reflects in {view.loop_id}. {see}\n"


# --- the image's life ---


async def test_reload_pause_resume_and_retire(world: World, starter: Starter) -> None:
    world.edit({"autopoiesis.max_turns": 7})
    reloaded = await starter("reload", "--json")
    assert (reloaded.json["revision"], reloaded.json["changed"]) == (2, True)
    assert "found no edit" in (await starter("reload")).out

    assert "is paused" in (await starter("pause", "--reason", "holidays")).out
    await world.submit("waits")
    assert ImageStatus.model_validate((await starter("resume", "--json")).json).phase == "active"

    retired = await starter("retire", "--yes", "--json")
    assert (retired.code, retired.json["phase"]) == (0, "retired")
    assert "retired (its workflow is completed)" in (await starter("status")).out
    late = await starter("ask", "Is it so?")
    assert (late.code, late.sentence[:16]) == (2, "No living image ")
    again = await starter("start")
    assert "was started" in again.out
    newest = f"snapshots/{world.name}.00000001.image"
    assert f"To go on with that one: python starter.py restore {newest}" in again.out
    assert (await starter("restore", newest, "--yes")).code == 0
    assert (await world.status()).phase == "active"


async def test_retire_waits_for_the_last_running_tasks_and_drops_the_queued_ones(
    world: World, starter: Starter
) -> None:
    world.ollama.answering.clear()
    for task in ("one", "two"):
        await world.submit(task)
    queued = await starter.begin("ask", "three", "--task-id", "three")
    await read_until(queued, "place 1", "stderr")
    retiring = await starter.begin("retire", "--yes")
    dropped = await starter.end(queued)
    assert dropped.code == 1
    assert "Task three failed. Retired" in dropped.err
    assert retiring.returncode is None
    world.ollama.answering.set()
    ran = await starter.end(retiring)
    assert (ran.code, ran.out) == (0, f"{world.name} is retired: 0 running.\n")
