"""A workflow that waits by its own clock, as the image does."""

import asyncio
from datetime import timedelta

from temporalio import workflow


@workflow.defn
class Waiting:
    """Until a time, or until somebody says that it is over."""

    def __init__(self) -> None:
        self._over = False

    @workflow.run
    async def run(self, seconds: int) -> None:
        due = workflow.now() + timedelta(seconds=seconds)
        while workflow.now() < due and not self._over:
            await workflow.wait(
                [
                    asyncio.create_task(workflow.wait_condition(lambda: self._over)),
                    asyncio.create_task(workflow.sleep(max(due - workflow.now(), timedelta(0)))),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )

    @workflow.signal
    def end(self) -> None:
        self._over = True

    @workflow.query
    def is_over(self) -> bool:
        return self._over
