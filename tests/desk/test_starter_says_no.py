"""What `starter.py` says, and how it ends, when something cannot be done: one sentence, never a traceback."""

import asyncio
import re
import signal
from asyncio.subprocess import Process
from pathlib import Path

import pytest
from temporalio.client import Client

from configuration import Settings
from connection.problems import Problem
from desk.client import Desk
from desk.deciding import find_proposal, read_changes
from desk.which import image_named_in
from messages.loops import LoopStart
from messages.tasks import PerformanceLog
from messages.trials import Moments, Observation
from testbed.fake_ollama import FakeOllama
from testbed.world import World, until
from tests.desk.command_line import Starter
from workflows.image_state import ImageStart, ImageState
from workflows.ledger import Ledger
from workflows.living_image import LivingImage
from workflows.philosophical_loop import PhilosophicalLoop


async def test_no_server_is_one_sentence(tmp_path: Path) -> None:
    ran = await Starter(tmp_path, "127.0.0.1:1")("status", "--json")
    assert ran.code == 2
    assert "o Temporal server answers at 127.0.0.1:1 " in ran.sentence


async def test_no_image_says_how_to_start_it(world: World, starter: Starter) -> None:
    missing = f"No living image 'nobody' runs at {starter.address}. Start it: python starter.py start"
    commands = (["status"], ["ask", "Is it so?"], ["approve", "--yes"], ["retire", "--yes"], ["start"])
    *others, start = await starter.each(*([*command, "--image", "nobody"] for command in commands))
    for ran in others:
        assert (ran.code, ran.sentence) == (2, missing)
    assert start.code == 2
    assert start.sentence.startswith(
        f"settings.toml is the settings file of '{world.name}', not of 'nobody'."
    )


async def test_no_worker_is_noticed_and_what_was_sent_is_kept(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = World(client, ollama, tmp_path)
    starter = Starter(tmp_path, client.service_client.config.target_host)
    assert (await starter("start")).code == 0
    for ran in await starter.each(["ask", "Is it so?"], ["logs"]):
        assert ran.code == 2
        assert ran.sentence.startswith(f"No worker answers for the living image '{world.name}' at ")
        assert "python worker.py" in ran.sentence
    await world.start_workers()
    assert [task["task"] for task in (await starter("tasks", "--json")).json] == ["Is it so?"]
    await world.stop_workers()


async def test_ctrl_c_at_any_moment_ends_a_command_without_a_traceback(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    World(client, ollama, tmp_path)  # only its settings: no worker, so that the command waits for an answer
    starter = Starter(tmp_path, client.service_client.config.target_host)
    assert (await starter("start")).code == 0
    for seconds in (0.1, 1, 4):
        process = await at_its_first_line(starter, "reflect")
        await asyncio.sleep(seconds)
        process.send_signal(signal.SIGINT)
        ran = await starter.end(process)
        assert ran.code in (130, -signal.SIGINT)
        assert (ran.out, ran.err) == ("", "")


async def at_its_first_line(starter: Starter, *arguments: str) -> Process:
    """A command that has begun: before that it is Python that hears of Ctrl-C, and prints a traceback."""
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the command has it, until its first line
    try:
        process = await starter.begin(*arguments)
    finally:
        signal.signal(signal.SIGINT, usual)

    async def begun() -> bool:
        return not ignores_ctrl_c(process.pid)

    await until(begun)
    return process


def ignores_ctrl_c(pid: int) -> bool:
    [ignored] = re.findall(r"^SigIgn:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(ignored, 16) & 1 << (signal.SIGINT - 1))


async def test_unknown_loops_and_tasks_are_named(world: World, starter: Starter) -> None:
    *loops, task = await starter.each(["show", "9"], ["approve", "9"], ["ask", "--task-id", "nope"])
    for ran in loops:
        assert ran.code == 2
        assert ran.sentence.startswith(f"There is no loop {world.name}/loop/9 at ")
    assert (task.code, task.sentence) == (2, f"{world.name} has no task nope. See: python starter.py tasks")


async def test_nothing_pending_is_a_no(world: World, starter: Starter) -> None:
    *decided, looked = await starter.each(["approve", "--yes"], ["reject", "--yes"], ["proposals"])
    for ran in decided:
        assert ran.code == 1
        assert ran.sentence.startswith(f"No proposal of {world.name} waits for a person.")
    assert (looked.code, looked.out) == (0, "No proposal waits for a person.\n")


async def test_bad_input_is_refused_before_anything_is_sent(world: World, starter: Starter) -> None:
    expected = (
        (["ask", "x" * 8193], "task is longer than 8192 bytes"),
        (["ask", "Is it so?", "--task-id", "a b"], "task_id: "),
        (["ask"], "Say what to argue out"),
        (["ask", "Is it so?", "--timeout", "soon"], 'must be a duration such as "90s"'),
        (["approve", "--set", "max_turns"], "--set 'max_turns' cannot be read."),
        (["reject", "--comment", "x" * 401], "comment: "),
        (["status", "--settings", "none.toml"], "There is no file none.toml."),
        (["status", "--image", "caf\udce9"], "'caf\\udce9' is not text in UTF-8."),
        (["dance"], "No such command"),
    )
    for ran, (command, words) in zip(
        await starter.each(*(row[0] for row in expected)), expected, strict=True
    ):
        assert (ran.code, ran.out) == (2, ""), command
        assert words in ran.err
        assert "Traceback" not in ran.err
    assert (await world.status()).finished == 0


async def test_what_the_image_refuses_is_a_no_with_its_reason(world: World, starter: Starter) -> None:
    blank = await starter("ask", " ")
    assert (blank.code, blank.sentence[:18]) == (1, "a task needs words")
    pending = await world.pending_proposal()
    for value, words in (
        ("autopoiesis.max_turns=99", "max_turns = 99"),
        ("models.temperature=0.5", "models.temperature is not part of this proposal"),
    ):
        ran = await starter("approve", "--yes", "--json", "--set", value)
        assert (ran.code, ran.out) == (1, "")
        assert words in ran.err
    assert (await world.proposal(pending.loop_id)).state == "pending"


async def test_deciding_without_a_terminal_needs_yes(world: World, starter: Starter) -> None:
    pending = await world.pending_proposal()
    verbs = ("approve", "reject", "retire")
    for ran, verb in zip(await starter.each(*([verb] for verb in verbs)), verbs, strict=True):
        assert ran.code == 2
        assert ran.err == f"There is no terminal to ask at. Add --yes to {verb} without being asked\n"
    assert (await world.proposal(pending.loop_id)).state == "pending"


async def test_a_failed_task_tells_its_failure_by_type_and_reason(world: World, starter: Starter) -> None:
    world.ollama.script.models = ["another"]
    ran = await starter("ask", "Is it so?", "--task-id", "mine", "--json")
    assert ran.code == 1
    assert ran.sentence.startswith("Task mine failed. ModelNotPulled: ")
    assert "ModelNotPulled" in (await starter("tasks")).out


async def test_a_task_terminated_from_outside_is_told(world: World, starter: Starter) -> None:
    world.ollama.answering.clear()
    process = await starter.begin("ask", "Is it so?", "--task-id", "mine")
    await world.ollama.until(lambda: len(world.ollama.calls) == 1)
    await world.client.get_workflow_handle(f"{world.name}/task/mine").terminate()
    ran = await starter.end(process)
    assert (ran.code, ran.sentence) == (1, "Task mine failed. Terminated: somebody ended its workflow")


def one_turn_more_did_better(settings: Settings) -> list[Observation]:
    more = settings.with_changes({"autopoiesis.max_turns": settings.autopoiesis.max_turns + 1})
    return [
        Observation(
            digest=under.digest(),
            values=under.tuned(),
            dissonance={"question": Moments(n=4, mean=mean)},
            tokens={"question": Moments(n=4)},
        )
        for under, mean in ((settings, 1.0), (more, 0.1))
    ]


async def test_with_several_proposals_the_person_says_which(world: World, starter: Starter) -> None:
    """An image has one loop at a time; the state of this one was made by hand."""
    name, settings = f"{world.name}-b", world.on_file()
    loops = [f"{name}/loop/1", f"{name}/loop/2"]
    log = PerformanceLog(
        task_id="t", final_dissonance=1, turn_count=2, outcome="max_turns", settings_digest=settings.digest()
    )
    window = [log.model_copy(update={"task_id": f"t{number}"}) for number in range(4)]
    state = ImageState(
        image_id=name,
        started_at=(await world.state()).started_at,
        ledger=Ledger(settings=settings),
        open_loops=loops,
        next_loop=3,
    )
    for loop in loops:
        start = LoopStart(
            image_id=name,
            loop_id=loop,
            window=window,
            settings=settings,
            settings_digest=settings.digest(),
            observations=one_turn_more_did_better(settings),
        )
        await world.client.start_workflow(PhilosophicalLoop.run, start, id=loop, task_queue=world.name)
        await world.proposal(loop)
    await world.client.start_workflow(
        LivingImage.run, ImageStart(settings=settings, state=state), id=name, task_queue=world.name
    )
    with pytest.raises(Problem, match=f"Several proposals wait: {loops[0]}, {loops[1]}. Say which one"):
        await find_proposal(Desk(world.client, name), None)
    chosen = await starter("reject", "2", "--yes", "--image", name)
    assert chosen.code == 0
    only = await starter("show", "--image", name)
    assert loops[0] in only.out


@pytest.mark.parametrize(
    ("text", "value"),
    [("k=3", 3), ("k = 0.5", 0.5), ('k="x=y"', "x=y"), ("k=true", True), ("k='[red]'", "[red]")],
)
def test_own_values_are_read_as_toml(text: str, value: object) -> None:
    assert read_changes([text]) == {"k": value}


@pytest.mark.parametrize("text", ["", "k", "k=", "=1", "k=[1]", "k=1979-05-27", "k=1\nother=2", "k={a=1}"])
def test_what_is_no_plain_value_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="cannot be read"):
        read_changes([text])


def test_the_image_is_named_by_the_settings_file_even_when_its_other_keys_are_wrong(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[system]\nimage_id = "mine"\nmax_concurrent_tasks = "many"\n')
    assert image_named_in(file) == "mine"
    for text in ("[system]\nimage_id = ", "[system]\n", "system = 3"):
        file.write_text(text)
        with pytest.raises(Problem, match="--image ID"):
            image_named_in(file)
