"""A proposal approved, and what must hold of it afterwards whatever died meanwhile."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporalio.service import RPCError

from messages.loops import LoopConcluded, ProposalView
from testbed.world import Image, until
from workflows.philosophical_loop import PhilosophicalLoop


async def sending_approval(world: Image, view: ProposalView) -> asyncio.Future[LoopConcluded]:
    return asyncio.ensure_future(
        world.loop(view.loop_id).execute_update(
            "decide", {"verdict": "approve", "approver": "Ada"}, id="one click", result_type=LoopConcluded
        )
    )


async def obstructed(world: Image, loop_id: str, told: str) -> ProposalView:
    """The view of a loop that waits, once it says a certain thing."""

    async def waits() -> ProposalView | None:
        try:
            view = await world.loop(loop_id).query(PhilosophicalLoop.proposal)
        except RPCError:
            return None  # its worker is still starting
        return view if told in view.obstacle else None

    view: ProposalView = await until(waits)
    return view


@contextmanager
def backups_in_the_way(file: Path) -> Iterator[None]:
    (file.parent / "settings.backups").write_text("no folder")
    yield
    (file.parent / "settings.backups").unlink()


async def assert_changed_once(world: Image) -> None:
    """The approved proposal, the file and the ledger agree, and the file was changed a single time."""

    await world.loops_concluded()
    state = await world.state()
    (entry,) = state.ledger.amendments
    assert (entry.state, entry.decided_by, entry.revision, state.ledger.revision) == ("approved", "Ada", 2, 2)
    assert world.on_file().autopoiesis.max_turns == 3
    assert state.settings == world.on_file()
    backups = world.file.parent / "settings.backups"
    assert len(list(backups.iterdir())) == 1
    assert [path.name for path in world.file.parent.iterdir() if "tmp" in path.name] == []
