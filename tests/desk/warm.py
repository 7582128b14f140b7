"""Commands in processes that have the libraries already: half of a command's second goes into importing them.

Each is a process of its own, forked from a server that has imported what no environment variable touches.
"""

import asyncio
import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

STREAMS = ("in", "out", "err")
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(
    ["temporalio.client", "temporalio.contrib.pydantic", "temporalio.envconfig", "workflows.image_state"]
)


async def run(
    script: Path, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], stdin: bytes
) -> tuple[int, bytes, bytes]:
    """Run a script to its end: exit code, stdout and stderr."""
    with tempfile.TemporaryDirectory() as streams:
        (Path(streams) / "in").write_bytes(stdin)
        given = (str(script), list(arguments), str(folder), dict(environment), streams)
        process = FORKING.Process(target=_become, args=given)
        process.start()
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(process.sentinel)
            process.kill()
            process.join()
        out, err = ((Path(streams) / name).read_bytes() for name in ("out", "err"))
        assert process.exitcode is not None
        return process.exitcode, out, err


def _become(
    script: str, arguments: Sequence[str], folder: str, environment: Mapping[str, str], streams: str
) -> None:
    """Turn this fork into `python SCRIPT ARGUMENTS`, started in a folder."""
    for number, name in enumerate(STREAMS):
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(Path(streams) / name, flags if number else os.O_RDONLY), number)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv, sys.path[0] = [script, *arguments], str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")
