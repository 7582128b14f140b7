"""How a worker ends: by a signal, or because something that it runs cannot go on."""

import asyncio
import signal
import sys


def cancel_on_signals() -> None:
    """Let Ctrl-C and SIGTERM cancel this task. Stopping takes seconds; one more skips what is waited for."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()

    def stop() -> None:
        print("Stopping ...", file=sys.stderr)
        if task is not None:
            task.cancel()

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop)


async def until_one_fails(*tasks: asyncio.Future[None]) -> None:
    """Raises what the first of them raises. Cancelled, it cancels them."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
