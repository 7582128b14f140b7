"""Writes a snapshot and is killed on the way: `python -m tests.activities.killed_writer STEP FOLDER`.

It imports little: the test starts it once for each step.
"""

import os
import signal
import sys
from pathlib import Path

from activities.snapshots import plain_pickle
from activities.snapshots.places import Place
from activities.snapshots.writing import Content, no_memories, write_file


def kill_at(step: int, folder: Path) -> None:
    """Write a snapshot and put it into its place, killed before the given step."""
    seen = 0
    place = Place("kept", folder, "one")

    def watch(event: str, _: object) -> None:
        nonlocal seen
        if event == "open" or event.startswith("os."):
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    # All that has to be imported is imported by now.
    plain_pickle.dump({})
    sys.addaudithook(watch)
    with place.temporary() as file:
        started_at = "2026-01-01T00:00:00+00:00"
        state = {"image_id": "one", "started_at": started_at, "text": "été", "new": True}
        write_file(file, Content("one", 2, state, no_memories, ""), b"")
        place.put(file, 2)


if __name__ == "__main__":
    kill_at(int(sys.argv[1]), Path(sys.argv[2]))
