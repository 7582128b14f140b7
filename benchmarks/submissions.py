"""How many tasks a second one image accepts, beside an entity that does nothing with what it is sent.

The image is paused, so that nothing but the accepting is measured; each round has a new image and a new
entity. `python -m benchmarks.submissions`
"""

import asyncio
import time
from typing import Any

from temporalio.client import WorkflowHandle

from benchmarks.bare import TASK_QUEUE, BareEntity
from benchmarks.measures import Bench, Row, median_ratio, spread
from benchmarks.stage import run_alone
from connection.image import start_image

TASKS = 100
"""As many as may wait in one image, see `[system] max_queued_tasks`."""
ABREAST = (1, 8)
"""How many are on their way at a time. A run takes ten."""
QUESTION = "Should a small team write its own scheduler, or take one that it has to learn first?"


async def submissions(bench: Bench) -> list[Row]:
    """Updates a second, ours and bare in turn, each first as often as second."""
    with bench.worker():
        await _round(bench, "warm", ABREAST[-1], True)
        return [await _compared(bench, abreast) for abreast in ABREAST]


async def _compared(bench: Bench, abreast: int) -> Row:
    ours, bare = list[float](), list[float]()
    for number in range(bench.rounds):
        for image, found in ((True, ours), (False, bare))[:: 1 if number % 2 else -1]:
            found.append(await _round(bench, f"{abreast}-{number}", abreast, image))
    return Row(
        f"tasks accepted a second, {abreast} abreast (bare: updates of an empty entity)",
        spread(ours, "/s"),
        spread(bare, "/s"),
        median_ratio(ours, bare),
    )


async def _round(bench: Bench, name: str, abreast: int, image: bool) -> float:
    """Updates a second of one new workflow."""
    handle = await (_paused_image(bench, f"image-{name}") if image else _entity(bench, f"entity-{name}"))
    try:
        return await _rate(handle, abreast)
    finally:
        await handle.terminate()


async def _paused_image(bench: Bench, name: str) -> WorkflowHandle[Any, Any]:
    settings = bench.image.on_file()
    system = settings.system.model_copy(update={"image_id": name})
    image = await start_image(bench.image.client, settings.model_copy(update={"system": system}))
    await image.execute_update("pause")
    return image


async def _entity(bench: Bench, name: str) -> WorkflowHandle[Any, Any]:
    entity = await bench.image.client.start_workflow(BareEntity.run, id=name, task_queue=TASK_QUEUE)
    await entity.execute_update("submit_task")
    return entity


async def _rate(handle: WorkflowHandle[Any, Any], abreast: int) -> float:
    waiting = iter(range(TASKS))

    async def send() -> None:
        for number in waiting:
            await handle.execute_update("submit_task", {"task": f"{number}: {QUESTION}"})

    start = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(abreast)))
    return TASKS / (time.perf_counter() - start)


if __name__ == "__main__":
    run_alone(submissions, __doc__, rounds=10)
