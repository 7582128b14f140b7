"""The baseline: a bare workflow that makes the same model calls, one activity each, and nothing else."""

import asyncio
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from ollama import AsyncClient

    from connection.server import connect

TASK_QUEUE = "bare"
CALLS = 6


class Bare:
    def __init__(self, host: str) -> None:
        self._client = AsyncClient(host)

    @activity.defn
    async def call(self, question: str) -> str:
        answer = await self._client.chat("bare", [{"role": "user", "content": question}])
        return answer.message.content or ""


@workflow.defn
class BareTask:
    @workflow.run
    async def run(self, question: str) -> str:
        for _ in range(CALLS):
            question = await workflow.execute_activity_method(
                Bare.call, question, start_to_close_timeout=timedelta(minutes=1)
            )
        return question


async def main(address: str, host: str) -> None:
    """Host the baseline until killed."""
    client = await connect(address)
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[BareTask], activities=[Bare(host).call]):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
