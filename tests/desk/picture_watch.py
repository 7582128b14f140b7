"""The screen of `starter.py watch` as it stands now, as a picture.

python -m tests.desk.picture_watch SETTINGS.toml PICTURE.png
"""

import asyncio
import io
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from desk import watch_rendering
from desk.client import Desk
from desk.sight import look
from tests.web_ui.chromium import CHROMIUM, NO_CHROMIUM, running_chromium

COLUMNS, LINES = 110, 30
PAGE = (
    "<!DOCTYPE html><meta charset=utf-8><body style='margin:0;background:{background}'>"
    "<pre style='font:15px/1.35 monospace;padding:12px;display:inline-block;color:{foreground}'>{code}</pre>"
)


async def page(settings: Path) -> str:
    """The screen as HTML, of a terminal of a usual size."""
    console = Console(
        file=io.StringIO(),
        record=True,
        width=COLUMNS,
        height=LINES,
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(watch_rendering.screen(await look(await Desk.open(None, settings)), console))
    return console.export_html(theme=MONOKAI, inline_styles=True, code_format=PAGE)


async def main() -> None:
    if len(sys.argv) != 3 or CHROMIUM is None:
        sys.exit(__doc__ if CHROMIUM else NO_CHROMIUM)
    shown = await page(Path(sys.argv[1]))
    async with running_chromium() as browser:
        tab = await browser.new_page()
        await tab.set_content(shown)
        await tab.locator("pre").screenshot(path=sys.argv[2])


if __name__ == "__main__":
    asyncio.run(main())
