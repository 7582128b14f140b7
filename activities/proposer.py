"""What the image should change about itself, and why: the activity behind every proposal.

`optimizer/` computes it, in a process of its own for each proposal: it may take seconds, and nothing else in
the worker waits for it. To start one costs 0.4 s, and what it loads is gone with it. It is killed when its
attempt is cancelled; one whose worker was killed ends when it has its answer.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.heartbeats import heartbeats
from messages.common import excerpt
from messages.loops import OptimizerAnswer, OptimizerRequest

PROJECT = Path(__file__).resolve().parent.parent


@activity.defn
async def propose_amendment(request: OptimizerRequest) -> OptimizerAnswer:
    """Look at the logs and ask for a change of the settings, or say why not. Raises OptimizerFailed."""
    async with heartbeats():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "optimizer"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=PROJECT,
            start_new_session=True,  # Ctrl-C is for the worker
        )
        try:
            answer, told = await process.communicate(request.model_dump_json().encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode:
        reason = excerpt(told.decode(errors="replace").strip().rpartition("\n")[2], 500)
        raise ApplicationError(
            f"the optimizer ended with code {process.returncode} ({reason or 'without a word'})",
            type="OptimizerFailed",
        )
    return OptimizerAnswer.model_validate_json(answer)
