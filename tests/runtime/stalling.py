"""A step that takes longer than the SDK allows, the first time it is taken."""

import time

SECONDS = 3.5
ended: list[str] = []


def stall() -> None:
    if ended:
        return
    until = time.monotonic() + SECONDS
    try:
        while time.monotonic() < until:
            sum(range(1000))
    except BaseException as error:
        ended.append(type(error).__name__)
        raise
    ended.append("by itself")
