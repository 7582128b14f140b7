"""A report in a real browser: it does nothing but show itself, on any screen and in both schemes."""

from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from desk.report.page import page_of
from tests.desk.lives import lived
from tests.web_ui.hostile import HOSTILE
from tests.web_ui.person import PATIENCE_MILLISECONDS

DEVIOUS = (
    f"{HOSTILE}</script></title></style><img src=x onerror=document.title='run'>"
    f"<svg onload=document.title='run'> \"' onload=x \u202e{'w' * 300} $\\frac{{a}}$"
)


async def test_hostile_words_neither_run_nor_ask_the_network_nor_break_the_page(
    browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page_of(lived(60, said=DEVIOUS, left_out=20)))
    asked: list[str] = []
    for width in (400, 1_400):
        for scheme in ("light", "dark"):
            look: Any = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
            page = await browser.new_page(**look)
            page.set_default_timeout(PATIENCE_MILLISECONDS)
            page.on("request", lambda request: asked.append(request.url))
            await page.goto(file.as_uri())
            assert await page.title() == "made-up: a report"
            assert await page.evaluate("document.documentElement.scrollWidth") == width
            assert await page.locator("script, img, iframe, link, a, [onload], [onerror]").count() == 0
            figures = page.locator("figure")
            assert await figures.count() == 14
            for figure in await figures.all():
                shown = figure.locator("svg:visible")
                assert await shown.count() == 1
                assert await contrast(shown) > 4.5
                box = await shown.bounding_box()
                assert box is not None and box["width"] > 300 and box["height"] > 150
            assert "https://example.org" in await page.locator("main").inner_text()
            await page.close()
    assert set(asked) == {file.as_uri()}


async def contrast(figure: Any) -> float:
    """Of the words of a figure against the page (WCAG 2.2, 1.4.3)."""
    words, paper = await figure.evaluate(
        """svg => [getComputedStyle(svg.querySelector("text")).fill,
                   getComputedStyle(document.body).backgroundColor]"""
    )
    lighter, darker = sorted(map(luminance, (words, paper)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Of `rgb(r, g, b)`."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
