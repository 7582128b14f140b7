"""The live screen, as somebody sees it who sits before a terminal."""

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path

from temporalio.client import Client

from testbed.fake_ollama import FakeOllama
from testbed.processes import kill
from testbed.world import World
from tests.desk.command_line import Starter
from tests.desk.screen import Screen
from tests.killing import Killed

WORDS = "Trees give shade for sixty years."


async def three_tasks(world: World) -> None:
    """Of three tasks two run, and their personas never come to the end of what they say."""
    world.ollama.script.says = {"text": WORDS}
    world.ollama.ending.clear()
    for number in (1, 2, 3):
        await world.submit(f"Question {number}?", task_id=f"q{number}")


async def test_the_screen_shows_who_speaks_what_waits_and_how_it_went(world: World, starter: Starter) -> None:
    view = await world.pending_proposal()
    await three_tasks(world)
    async with Screen(starter, "watch", columns=110, lines=32) as screen:
        speak = [f"q{number}  Question {number}?\n  Turn 1: BRICK's thesis  generating" for number in (1, 2)]
        shown = await screen.until(WORDS, "next: Question 3?", *speak)
        assert re.search(rf"{world.name}\s+active\s+revision 1", shown)
        assert "2 running, 1 queued, 0 finished" in shown
        assert re.search(r"dissonance ▁▁▁▁████ mean 0\.55", shown)
        assert f"{view.loop_id} waits for you: autopoiesis" in shown
        world.ollama.ending.set()
        await screen.until("3 finished", "Nobody argues at the moment.")
        screen.type("q")
        assert await screen.ended() == 0
    assert screen.sent.rstrip().endswith(b"\x1b[?25h\x1b[?1049l")  # the screen of before is back


async def test_a_small_screen_without_colours_has_the_head_and_the_foot(
    world: World, starter: Starter
) -> None:
    await three_tasks(world)
    starter.environment = {"NO_COLOR": "1"}
    async with Screen(starter, "watch", columns=40, lines=10) as screen:
        shown = await screen.until("2 running", "q quits", "BRICK's thesis")
        assert max(map(len, shown.splitlines())) <= 40
        assert not re.search(rb"\x1b\[[0-9;]*3\dm", screen.sent)
        screen.type("q")
        assert await screen.ended() == 0
    world.ollama.ending.set()


async def test_without_a_worker_it_says_so_in_whole_and_can_be_left(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = Killed(client, ollama, tmp_path)
    await world.start()
    async with AsyncExitStack() as stack:
        with world.process() as process:
            await world.ask("Who is there?")
            watching = Screen(Starter(tmp_path, world.address), "watch", columns=60, lines=14)
            screen = await stack.enter_async_context(watching)
            await screen.until("1 finished")
            kill(process)
        shown = await screen.until("No worker answers", "q quits")
        assert " ".join(shown.split()).count("Start one: python worker.py") == 1
        # The next look goes on for a quarter of a minute.
        screen.type("q")
        async with asyncio.timeout(10):
            assert await screen.ended() == 0


async def test_without_a_terminal_it_shows_the_screen_once(world: World, starter: Starter) -> None:
    ran = await starter("watch")
    assert (ran.code, ran.err) == (0, "")
    assert "0 running, 0 queued, 0 finished" in ran.out
    assert "dissonance: none measured in this window" in ran.out
    nobody = await starter("watch", "--image", "nobody")
    assert nobody.code == 2
    assert nobody.sentence.startswith("No living image 'nobody' runs")
