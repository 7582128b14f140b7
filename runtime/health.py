"""`python -m runtime.health TASK_QUEUE`, a healthcheck: whether the server hears a worker of this host.

Exit code 0: one has lately asked for work. 1: none has, and one sentence says so.
"""

import argparse
import asyncio
import socket
import sys
from datetime import UTC, datetime, timedelta

from temporalio.service import RPCError

from connection.pollers import pollers_of
from connection.problems import Problem, leave
from connection.server import connect, target

# A worker asks anew at least once a minute.
LATELY = timedelta(minutes=2)


class NotPolling(Problem):
    """No worker of this host asks for work."""


async def check(task_queue: str, host: str) -> None:
    """Raises Problem: NotPolling, or that the server cannot be asked."""
    client = await connect()
    try:
        pollers = await pollers_of(client, task_queue)
    except RPCError as error:
        raise Problem(f"The server at {target(client)} cannot be asked ({error.message})") from None
    # By default a worker's identity is its process id and its host: 7@4f1c9a.
    heard = (poller.last_access_time for poller in pollers if poller.identity.endswith(f"@{host}"))
    if all(datetime.now(UTC) - moment.ToDatetime(UTC) >= LATELY for moment in heard):
        raise NotPolling(f"No worker of {host} has asked for work on {task_queue!r} within {LATELY}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether a worker of this host takes work.")
    parser.add_argument("task_queue")
    try:
        asyncio.run(check(parser.parse_args().task_queue, socket.gethostname()))
    except Problem as problem:
        print(problem, file=sys.stderr)
        leave(1)
    leave(0)


if __name__ == "__main__":
    main()
