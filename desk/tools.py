"""What the command `mcp` offers: tools by which another program's model asks an image and looks at it."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

from connection import tracing
from connection.problems import Problem, Refused
from connection.version import NAME, VERSION
from desk.app import request
from desk.client import LOOK_EVERY_SECONDS, Desk
from desk.deciding import login_name
from desk.problems import no_task
from desk.signing import key_for, signed
from messages.image import ImageStatus
from messages.loops import LoopConcluded, ProposalView
from messages.requests import Decision, SubmitTask
from messages.signatures import SignatureTaken

WAIT_SECONDS = 50.0
"""Clients of the protocol give a call up after a minute."""
ABOUT = (
    "A living image is a team of personas that argue a question out, which takes minutes. `ask` waits a "
    "while; called again with the same task_id it waits on. The image proposes changes of its own settings, "
    "on which a person decides."
)


class Answer(BaseModel):
    """What a task came to. `done` false: it goes on, and `ask` with this `task_id` waits on."""

    task_id: str
    done: bool
    synthesis: str = ""
    outcome: str = ""
    dissonance: list[float | None] = []
    model: str = ""
    now: str = ""


class Tools:
    """The tools on one image; all of them raise Problem, whose sentence the caller is told."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ask(
        self,
        context: Context,
        task: str = "",
        task_id: str | None = None,
        task_type: str = "question",
        wait_seconds: float = WAIT_SECONDS,
    ) -> Answer:
        """Have the personas argue a question out. The same task_id is the same task, asked once."""
        if task:
            submitted = request(SubmitTask, task=task.strip(), task_id=task_id, task_type=task_type)
            with tracing.span("mcp ask"):
                task_id = (await self._desk.submit(submitted)).task_id
        if task_id is None:
            raise Problem("Say what to argue out (task), or which task to wait for (task_id)")
        waiting = asyncio.create_task(self._result(task_id))
        try:
            for second in range(1, max(int(min(wait_seconds, 3_600)), 0) + 1):
                done, _ = await asyncio.wait({waiting}, timeout=LOOK_EVERY_SECONDS)
                if done:
                    break
                await context.report_progress(second, message=await self._now(task_id))
            if not waiting.done():
                return Answer(task_id=task_id, done=False, now=await self._now(task_id))
            return waiting.result()
        finally:
            waiting.cancel()

    async def status(self) -> ImageStatus:
        """How the image is: its phase, queue, settings revision, what waits for a person."""
        return await self._desk.status()

    async def proposals(self) -> list[ProposalView]:
        """The proposals that wait for a person's decision."""
        return await self._desk.pending()

    async def show(self, loop: str) -> ProposalView:
        """One proposal in full, waiting or decided: 3, loop/3 or the full id."""
        return await self._desk.proposal(self._desk.loop_id(loop))

    async def approve(self, loop: str, digest: str, comment: str = "") -> LoopConcluded:
        """Let the image rewrite its settings as proposed. `digest`: that of the proposal as shown."""
        return await self._decide(loop, "approve", digest, comment)

    async def reject(self, loop: str, digest: str, comment: str = "") -> LoopConcluded:
        """Refuse a proposal. `digest`: that of the proposal as shown."""
        return await self._decide(loop, "reject", digest, comment)

    async def _decide(self, loop: str, verdict: str, digest: str, comment: str) -> LoopConcluded:
        by = f"{login_name()[:70]}, by MCP"
        told = {"verdict": verdict, "approver": by, "comment": comment, "proposal_digest": digest}
        decision, loop_id = request(Decision, **told), self._desk.loop_id(loop)
        view = await self._desk.proposal(loop_id)
        if view.signatures.approvers:
            key = await key_for(view, None)
            decision = await signed(decision, self._desk.image_id, loop_id, key)
        answer = await self._desk.decide(loop_id, decision)
        if isinstance(answer, SignatureTaken):
            raise Problem(str(answer))
        return answer

    async def _result(self, task_id: str) -> Answer:
        """Wait for the end of a task, which may still be queued."""
        while (result := await self._desk.result(task_id)) is None:
            task, _ = await self._desk.task(task_id)
            if task is None:
                raise no_task(self._desk.image_id, task_id)
            if task.phase == "finished":
                raise Refused(f"Task {task_id} failed. {task.failure}")
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        return Answer(
            task_id=task_id,
            done=True,
            synthesis=result.synthesis,
            outcome=result.outcome,
            dissonance=[turn.value for turn in result.dissonance],
            model=result.model_backend,
        )

    async def _now(self, task_id: str) -> str:
        """What happens to a task at this moment."""
        with contextlib.suppress(Problem):
            return (await self._desk.transcript(task_id)).speaking
        with contextlib.suppress(Problem):
            _, place = await self._desk.task(task_id)
            return f"waits in the queue, place {place}" if place else ""
        return ""


async def serve(desk: Desk, *, may_decide: bool) -> None:
    """Serve the tools on stdin and stdout until the other side is gone."""
    tools = Tools(desk)
    server: MCPServer[None] = MCPServer(NAME, instructions=ABOUT, version=VERSION, log_level="WARNING")
    offered: list[Callable[..., Any]] = [tools.ask, tools.status, tools.proposals, tools.show]
    if may_decide:
        offered += [tools.approve, tools.reject]
    for tool in offered:
        server.add_tool(_told(tool))
    await server.run_stdio_async()


def _told(tool: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same tool, which tells the caller of its Problems; of other failures only that there was one."""

    @functools.wraps(tool)
    async def call(*given: Any, **named: Any) -> Any:
        try:
            return await tool(*given, **named)
        except Problem as problem:
            raise ToolError(str(problem)) from None

    return call
