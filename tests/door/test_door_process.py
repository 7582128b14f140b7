"""The door of `python worker.py --door`, as a person opens and closes it."""

import re
import signal
from pathlib import Path

import pytest
from openai import APIError
from temporalio.testing import WorkflowEnvironment

from door.opening import with_port
from messages.image import ImageStatus
from testbed.fake_ollama import FakeOllama
from testbed.world import Image
from tests.door.conftest import knocking
from tests.door.test_completions import ask, told
from tests.door.test_streams import Stream
from tests.runtime.worker_process import WorkerProcess


async def test_sigterm_ends_open_streams_and_the_next_worker_goes_on_with_their_tasks(
    server: WorkflowEnvironment, ollama: FakeOllama, tmp_path: Path
) -> None:
    image = Image(server.client, ollama.url, tmp_path)
    await image.start()
    address = image.address
    async with WorkerProcess(tmp_path, "--door", "0", TEMPORAL_ADDRESS=address) as worker:
        async with knocking(image, await url(worker)) as doorstep:
            # No call is under way for which the worker would wait, and the streams are ended all the same.
            await image.update("pause", None, ImageStatus)
            stream = Stream(doorstep, "Trees or roofs?")
            await stream.until("is paused")
            unread = Stream(doorstep, "Who reads this?")
            await unread.until("is paused")
            worker.process.send_signal(signal.SIGTERM)
            with pytest.raises(APIError, match="ask the same again") as ended:
                await stream.until()
            assert ended.value.code == "closing"
        assert await worker.process.wait() == 0
        assert "Traceback" not in worker.err
    async with (
        WorkerProcess(tmp_path, "--door", "0", TEMPORAL_ADDRESS=address) as worker,
        knocking(image, await url(worker)) as doorstep,
    ):
        await image.update("resume", None, ImageStatus)
        answer = await ask(doorstep, "Trees or roofs?")
        assert f"Task {told(answer)['task_id']} waits" in stream.said()
        assert await worker.stop(signal.SIGINT) == 0


async def url(worker: WorkerProcess) -> str:
    await worker.says("Ctrl-C stops")
    found = re.search(r"Door: (http://127\.0\.0\.1:\d+/v1)\n", worker.out)
    assert found, worker.out
    return found[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--door", "0", "--door-host", "0.0.0.0"), "set LIVING_IMAGE_DOOR_TOKEN"),
        (("--door", "0", "--role", "files"), "a worker that thinks"),
    ],
)
async def test_a_door_that_makes_no_sense_is_refused_at_once(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    async with WorkerProcess(tmp_path, *arguments) as worker:
        assert await worker.process.wait() == 2
        assert says in worker.err
        assert worker.err.count("\n") == 1


def test_the_port_may_be_left_out() -> None:
    assert with_port(["worker.py", "--door", "--dev"]) == ["worker.py", "--door=7411", "--dev"]
    assert with_port(["worker.py", "--dev", "--door"]) == ["worker.py", "--dev", "--door=7411"]
    assert with_port(["worker.py", "--door", "0"]) == ["worker.py", "--door", "0"]
    assert with_port(["worker.py", "--door=5", "--dev"]) == ["worker.py", "--door=5", "--dev"]
