"""A report from its top, or from a section on, as a person sees it: wide and narrow, light and dark.

python -m tests.desk.picture_report REPORT.html PICTURE.png [SECTION]
"""

import asyncio
import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from tests.web_ui.chromium import CHROMIUM, NO_CHROMIUM, running_chromium

WIDTHS = (1_400, 400)
SCHEMES: Any = ("light", "dark")
HEIGHT, GAP = 1_200, 20


async def pictures(address: str) -> list[list[bytes]]:
    """A row for each colour scheme: PNG files of HEIGHT pixels."""
    async with running_chromium() as browser:
        rows = []
        for scheme in SCHEMES:
            row = []
            for width in WIDTHS:
                size: Any = {"width": width, "height": HEIGHT}
                page = await browser.new_page(viewport=size, color_scheme=scheme)
                await page.goto(address)
                row.append(await page.screenshot())
                await page.close()
            rows.append(row)
    return rows


def together(rows: list[list[bytes]]) -> Image.Image:
    """All of them side by side and below each other, in few colours: text and lines need no more."""
    size = (sum(WIDTHS) + GAP, len(rows) * (HEIGHT + GAP) - GAP)
    whole = Image.new("RGB", size, "#808080")
    for y, row in enumerate(rows):
        x = 0
        for picture, width in zip(row, WIDTHS, strict=True):
            whole.paste(Image.open(io.BytesIO(picture)), (x, y * (HEIGHT + GAP)))
            x += width + GAP
    return whole.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def main() -> None:
    if len(sys.argv) < 3 or CHROMIUM is None:
        sys.exit(__doc__ if CHROMIUM else NO_CHROMIUM)
    report, file = map(Path, sys.argv[1:3])
    if not report.is_file():
        sys.exit(f"There is no report {report}. Write it: python starter.py report {report}")
    address = "#".join([report.absolute().as_uri(), *sys.argv[3:]])
    together(asyncio.run(pictures(address))).save(file, optimize=True)


if __name__ == "__main__":
    main()
