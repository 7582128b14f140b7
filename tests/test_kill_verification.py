"""SIGKILL between a verdict and the way back, of worker and server: nothing is lost, nothing twice."""

from pathlib import Path

import pytest
from temporalio.client import Client

from connection.server import connect
from runtime.dev_server import DevServer
from testbed.fake_ollama import FakeOllama
from testbed.processes import kill
from testbed.world import until
from tests.killing import Killed
from tests.workflows.verified import HARM, SETTINGS, ask, reversal, script, verdict_of, verification

pytestmark = pytest.mark.timeout(600)


async def almost_judged(client: Client, ollama: FakeOllama, folder: Path) -> Killed:
    """An image in which a harmful change is one block from its verdict; its worker has ended."""
    ollama.script = script(HARM)
    world = Killed(client, ollama, folder, SETTINGS)
    await world.start()
    with world.process():
        view = await world.pending_proposal()
        await world.decide(view.loop_id)
        await world.loops_concluded()
        await ask(world, HARM, 0, 8)
        assert (await verification(world)).verdict is None
    return world


async def assert_taken_back_once(world: Killed) -> None:
    loop_id = await reversal(world)
    await world.proposal(loop_id)
    await world.decide(loop_id)
    await world.loops_concluded()
    assert world.on_file().autopoiesis.max_turns == 2
    state = await world.state()
    assert [(entry.source, entry.state) for entry in state.ledger.amendments] == [
        ("surrogate", "approved"),
        ("reversal", "approved"),
    ]
    assert state.next_loop == 3
    assert state.ledger.revision == 3
    assert (state.verifying.verified, (await verification(world)).pinned) == (1, False)


async def test_a_worker_killed_between_a_verdict_and_the_way_back(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = await almost_judged(client, ollama, tmp_path)
    with world.process() as process:
        await world.submit("Task 8 of kind a.", task_id="t8")
        await world.submit("Task 9 of kind a.", task_id="t9")

        async def judged() -> bool:
            return (await verification(world)).verdict is not None

        await until(judged)
        kill(process)
    with world.process():
        assert (await verdict_of(world, HARM)).verdict == "harmful"
        await assert_taken_back_once(world)


async def test_a_server_and_a_worker_killed_between_a_verdict_and_the_way_back(
    mortal_server: DevServer, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = await almost_judged(await connect(mortal_server.address), ollama, tmp_path)
    with world.process() as process:
        await ask(world, HARM, 8, 2)
        loop_id = await reversal(world)
        kill(process)
        mortal_server.process.kill()
    await until(mortal_server.is_ready)
    with world.process():
        assert await reversal(world) == loop_id
        assert (await world.ask("Task 50 of kind a.")).log.turn_count == 2
        await assert_taken_back_once(world)
