"""What a command printed, colours included, as a picture of a terminal.

COMMAND > PRINTED.txt; python -m tests.desk.picture_terminal PRINTED.txt PICTURE.png
"""

import asyncio
import io
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.web_ui.chromium import CHROMIUM, NO_CHROMIUM, running_chromium

COLUMNS, LINES = 110, 30
PAGE = (
    "<!DOCTYPE html><meta charset=utf-8><body style='margin:0;background:{background}'>"
    "<pre style='font:15px/1.35 monospace;padding:12px;display:inline-block;color:{foreground}'>{code}</pre>"
)


def terminal(lines: int | None = None) -> Console:
    """One of a usual size, which records what is printed to it."""
    return Console(
        file=io.StringIO(),
        record=True,
        width=COLUMNS,
        height=lines,
        force_terminal=True,
        color_system="truecolor",
    )


async def photograph(shown: Console, picture: str) -> None:
    """Save what a terminal shows as a PNG file. Exits where there is no Chromium."""
    if CHROMIUM is None:
        sys.exit(NO_CHROMIUM)
    async with running_chromium() as browser:
        tab = await browser.new_page()
        await tab.set_content(shown.export_html(theme=MONOKAI, inline_styles=True, code_format=PAGE))
        await tab.locator("pre").screenshot(path=picture)


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    console = terminal()
    console.print(Text.from_ansi(Path(sys.argv[1]).read_text()))
    asyncio.run(photograph(console, sys.argv[2]))


if __name__ == "__main__":
    main()
