"""DBOS on SQLite: workflows of steps in the program's own process, and `recv` for a person's word.

python -m benchmarks.peers.with_dbos FOLDER MODEL_SERVER
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

from dbos import DBOS, DBOSConfig, SetWorkflowID

from benchmarks.peers.work import STEPS, Change, Model, Orders, carry_out, proposed, serve

WEEK_SECONDS = 7 * 24 * 3600.0
FOLDER, HOST = Path(sys.argv[1]), sys.argv[2]
FILE = FOLDER / "settings.toml"
MODEL = Model(HOST)


@DBOS.step()
async def ask(step: str, said: dict[str, str]) -> str:
    return await MODEL.ask(step, said)


@DBOS.workflow()
async def argue(task: str) -> str:
    said = {"task": task}
    for step in STEPS:
        said[step] = await ask(step, said)
    return said["synthesis"]


@DBOS.step()
def propose() -> Change:
    return proposed(FILE)


@DBOS.step()
def write(change: Change) -> None:
    carry_out(FILE, change)


@DBOS.workflow()
async def amend() -> None:
    change = await asyncio.to_thread(propose)
    await DBOS.set_event_async("waits", change)
    if await DBOS.recv_async("approved", timeout_seconds=WEEK_SECONDS):
        await asyncio.to_thread(write, change)


async def run(name: str) -> str:
    with SetWorkflowID(name):
        handle = await DBOS.start_workflow_async(argue, name)
    return await handle.get_result()


async def wait_for_a_person(name: str) -> None:
    with SetWorkflowID(name):
        await DBOS.start_workflow_async(amend)
    await DBOS.get_event_async(name, "waits")


async def approve(name: str) -> None:
    await DBOS.send_async(name, True, "approved")
    handle = await DBOS.retrieve_workflow_async(name)
    await handle.get_result()


async def unfinished() -> AsyncIterator[tuple[str, Awaitable[object]]]:
    """DBOS takes them up by itself; this waits for them, some of which may be over by now."""
    for found in await DBOS.list_workflows_async(name=argue.__qualname__):
        yield found.workflow_id, (await DBOS.retrieve_workflow_async(found.workflow_id)).get_result()


async def main() -> None:
    config: DBOSConfig = {
        "name": "peer",
        "system_database_url": f"sqlite:///{FOLDER}/dbos.db",
        "console_log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.launch()
    try:
        await serve(Orders(run, wait_for_a_person, approve, unfinished()))
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main())
