"""A memory in a folder with room for 2 MiB: `python -m tests.activities.memory_on_small_disk FOLDER`."""

import subprocess
import sys
from pathlib import Path

import apsw

from activities.memory.store import MemoryStore
from tests.activities.entries import entry


def main(folder: Path) -> None:
    """Remember what has no room, then what may not be written, then what has room; prints what came of it."""
    store = MemoryStore(folder / "memory.db")
    store.add([entry()])
    filler = folder / "filler"
    _fill(filler)
    _try_to_remember(store)
    print(list(store.task_ids("image")))
    filler.unlink()
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    _try_to_remember(store)
    print(list(store.task_ids("image")))
    store.close()
    subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    print(store.add([entry("later")]))


def _try_to_remember(store: MemoryStore) -> None:
    try:
        print(store.add([entry("large", synthesis="yes " * 4000, task="why " * 100_000)]))
    except apsw.Error as error:
        print(f"{type(error).__name__}: {error}")


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as target:
        try:
            while target.write(bytes(1 << 12)):
                pass
        except OSError:
            pass


if __name__ == "__main__":
    main(Path(sys.argv[1]))
