"""Reads a file all the time: `python -m benchmarks.chaos.reader FILE STORY`.

Every text that differs from the one before becomes a line of JSON in STORY: when, which look it was, the text
(null: there was no file).
"""

import json
import sys
import time
from pathlib import Path

PAUSE_SECONDS = 0.0005


def read_on(path: Path, story: Path) -> None:
    """Until killed."""
    looks, before = 0, b"\0"
    with story.open("a") as out:
        while True:
            looks += 1
            try:
                now = path.read_bytes()
            except FileNotFoundError:
                now = b""
            if now != before or looks % 10_000 == 0:
                text = now.decode(errors="surrogateescape") if now else None
                out.write(json.dumps({"at": time.time(), "looks": looks, "text": text}) + "\n")
                out.flush()
                before = now
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    read_on(Path(sys.argv[1]), Path(sys.argv[2]))
