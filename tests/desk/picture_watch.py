"""The screen of `starter.py watch` as it stands now, as a picture.

python -m tests.desk.picture_watch SETTINGS.toml PICTURE.png
"""

import asyncio
import sys
from pathlib import Path

from desk import watch_rendering
from desk.client import Desk
from desk.sight import look
from tests.desk.picture_terminal import LINES, photograph, terminal


async def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    console = terminal(LINES)
    sight = await look(await Desk.open(None, Path(sys.argv[1])))
    console.print(watch_rendering.screen(sight, console))
    await photograph(console, sys.argv[2])


if __name__ == "__main__":
    asyncio.run(main())
