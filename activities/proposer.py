"""What the image should change about itself, and why: the activity behind every proposal.

`optimizer/` computes it, in a process of its own: it may take seconds, and nothing else in the worker waits
for it. What it computes with takes seconds to load as well, so the process stays for the next question. It
ends by itself when there is none for some minutes or when its worker has ended, however that came about.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from anyio.lowlevel import RunVar
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeats import heartbeats
from messages.loops import OptimizerAnswer, OptimizerRequest
from optimizer.enough import too_little

PROJECT = Path(__file__).resolve().parent.parent
LONGEST_ANSWER = 2**24
"""In bytes; one of our own takes a hundredth of it."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Its matrices are small: more threads only take the cores from a model on this machine."""

_process: RunVar[Process | None] = RunVar("_process", None)
_asking: RunVar[asyncio.Lock] = RunVar("_asking")


@activity.defn
async def propose_amendment(request: OptimizerRequest) -> OptimizerAnswer:
    """What to try next, what to ask a person for, or why nothing. Raises OptimizerFailed."""
    if reason := too_little(request):
        return OptimizerAnswer(reason=reason)
    async with heartbeats(), _one_at_a_time():
        answer = json.loads(await _answer(request.model_dump_json().encode()))
    if "failure" in answer:
        raise _failure(f"the optimizer failed ({answer['failure']})")
    return OptimizerAnswer.model_validate(answer)


async def _answer(asked: bytes) -> bytes:
    process = await _running()
    assert process.stdin and process.stdout
    try:
        process.stdin.write(asked + b"\n")
        await process.stdin.drain()
        answer = await process.stdout.readline()
    except ConnectionError:
        answer = b""
    except BaseException:
        # Nobody waits for this answer any more, and the next question must not get it.
        process.kill()
        await process.wait()
        raise
    if not answer:
        raise _failure(f"the optimizer's process ended with code {await process.wait()}")
    return answer


async def _running() -> Process:
    process = _process.get()
    if process is None or process.returncode is not None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "optimizer"),
            stdin=PIPE,
            stdout=PIPE,
            limit=LONGEST_ANSWER,
            cwd=PROJECT,
            env=os.environ | ONE_THREAD,
            start_new_session=True,  # Ctrl-C is for the worker
        )
        _process.set(process)
    return process


def _one_at_a_time() -> asyncio.Lock:
    try:
        return _asking.get()
    except LookupError:
        _asking.set(lock := asyncio.Lock())
        return lock


def _failure(sentence: str) -> ApplicationError:
    return ApplicationError(sentence, type="OptimizerFailed")
