"""An approval outlives obstacles, SIGKILL and company: real worker processes at work on one file."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from temporalio.client import Client

from testbed.fake_ollama import FakeOllama
from testbed.processes import MAY_MOUNT, kill, worker_process
from testbed.world import until
from tests.approval import assert_changed_once, obstructed, sending_approval
from tests.killing import Killed
from tests.locking import locked


async def test_a_worker_killed_while_a_loop_waits_for_an_obstacle_loses_nothing(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = Killed(client, ollama, tmp_path)
    await world.start()
    with ExitStack() as lock:
        with world.process() as process:
            view = await world.pending_proposal()
            lock.enter_context(locked(tmp_path))
            sending = await sending_approval(world, view)
            await obstructed(world, view.loop_id, "another process is at work in ")
            kill(process)
        with world.process() as process:
            waiting = await obstructed(world, view.loop_id, "another process is at work in ")
            assert (waiting.state, waiting.decided_by) == ("rewriting", "Ada")
            await asyncio.sleep(2)
            kill(process)
    with world.process():
        assert (await sending).state == "approved"
        await assert_changed_once(world)


@pytest.mark.skipif(not MAY_MOUNT, reason="needs the right to mount")
async def test_a_rewrite_waits_for_room_on_a_full_disk(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = Killed(client, ollama, tmp_path)
    await world.start()
    small = tmp_path / "small"
    small.mkdir()
    script = 'mount -t tmpfs -o size=64k none "$1" && cp "$2" "$1" && shift 2 && exec "$@"'
    under = ["unshare", "-m", "sh", "-c", script, "sh", str(small), str(world.file)]
    with worker_process(small / "settings.toml", world.address, under) as process:
        view = await world.pending_proposal()
        inside = Path(f"/proc/{process.pid}/root{small}")
        with no_room(inside):
            sending = await sending_approval(world, view)
            told = await obstructed(world, view.loop_id, "(No space left on device")
            assert told.obstacle.endswith("; free some space on its disk")
        assert (await sending).state == "approved"
        world.file = inside / "settings.toml"
        await assert_changed_once(world)


@contextmanager
def no_room(folder: Path) -> Iterator[None]:
    handle = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(handle, b"x" * 4096)
    except OSError:
        pass
    os.close(handle)
    yield
    (folder / "filler").unlink()


async def test_a_rewrite_happens_once_with_two_workers_on_the_file_and_six_tasks_running(
    client: Client, ollama: FakeOllama, tmp_path: Path
) -> None:
    world = Killed(client, ollama, tmp_path, {"system.max_concurrent_tasks": 6})
    await world.start()
    with world.process(), world.process():
        view = await world.pending_proposal()
        ollama.answering.clear()
        receipts = [await world.submit(f"Question {number}?") for number in range(6)]

        async def all_run() -> bool:
            return (await world.status()).running == 6

        await until(all_run)
        assert (await (await sending_approval(world, view))).state == "approved"
        await assert_changed_once(world)
        assert (await world.status()).running == 6
        ollama.answering.set()
        results = await asyncio.gather(*map(world.result, receipts))
        assert {result.revision for result in results} == {1}
        assert (await world.ask("And now?")).revision == 2
