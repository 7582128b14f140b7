"""Saves into a folder with room for 64 KiB: `python -m tests.activities.small_disk FOLDER`."""

import asyncio
import sys
from pathlib import Path

from activities.snapshots.writing import save
from messages.files import SnapshotOrder
from tests.workflows.image_states import a_state


async def main(folder: Path) -> None:
    """Save, save what has no room, save what has; prints what came of it."""
    state = a_state().model_dump(mode="json")
    order = SnapshotOrder(image_id=state["image_id"], place="kept", keep=10, generation=1)
    await save(order, state, folder)
    try:
        await save(order, {**state, "more": "x" * 100_000}, folder)
    except OSError as error:
        print(error)
    print(sorted(path.name for path in (folder / "kept").iterdir()))
    print((await save(order, {**state, "more": "x"}, folder)).generation)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
