"""The page of a life that nobody lived: what stands in it, and that it is well made."""

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from desk.plots.over_time import around, moving
from desk.report.lived import Life
from desk.report.page import page_of
from messages.verification import Verified
from tests.desk.lives import BEGIN, entry, lived, newborn
from tests.web_ui.hostile import HOSTILE

SVG = {"svg", "title", "g", "path", "use", "text", "rect", "defs", "clippath", "pattern"}
PLAIN = {"html", "head", "meta", "title", "style", "body", "main", "header", "section", "article", "div"}
WORDS = {"h1", "h2", "h3", "p", "ul", "li", "dl", "dt", "dd", "figure", "figcaption", "details", "summary"}
TABLES = {"table", "caption", "thead", "tbody", "tr", "th", "td"}


class Page(HTMLParser):
    """What a page is made of. Fails where it is not well made."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.source = page_of(life)
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        assert tag in SVG
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def full() -> Page:
    return Page(lived(120, said=HOSTILE, left_out=60))


def test_a_newborn_has_a_page(full: Page) -> None:
    page = Page(newborn())
    for sentence in (
        "No amendment yet.",
        "No argument has ended yet.",
        "No change was verified yet.",
        "No loop has looked at the logs yet",
        "The ledger saw no value change.",
        "Nothing was spent that records tell of.",
        "All that this page asks for was there.",
    ):
        assert sentence in page.text
        assert sentence not in full.text
    assert page.tags.count("figure") == 1


def test_words_of_others_make_no_markup(full: Page) -> None:
    assert set(full.tags) == SVG | PLAIN | WORDS | TABLES
    assert HOSTILE.split("\n", maxsplit=1)[0] in full.text
    assert {name for name, _ in full.attributes if name.startswith("on")} == set()
    assert re.search("@import|url\\((?!#)", full.source) is None


def test_the_pictures_share_no_id_and_have_the_colours_of_the_page(full: Page) -> None:
    ids = full.values("id")
    assert len(ids) == len(set(ids)) > 50
    used = {value.removeprefix("#") for value in full.values("href")}
    used |= {found for _, value in full.attributes for found in re.findall(r"url\(#([^)]+)\)", value)}
    assert used <= set(ids)
    styles = " ".join(full.values("style"))
    assert "var(--ink)" in styles
    assert re.search("#[0-9a-f]{6}|rgb", styles) is None


def test_each_figure_is_told_in_words_too(full: Page) -> None:
    drawn = full.tags.count("figure")
    # The first is there for narrow and for wide pages.
    assert (full.tags.count("figcaption"), full.tags.count("svg")) == (drawn, drawn + 1)
    told = full.values("aria-label")
    assert len(told) == drawn + 1
    assert all(len(label) > 40 for label in told)


def test_all_parts_of_a_life_are_on_the_page(full: Page) -> None:
    for words in (
        "the ledger has 2 approved, 1 edited, 1 conditions, 1 declined, 1 no proposal",
        "no_difference: no gain can be seen",
        "The verification under way",
        "looks after 10, 15, 20 blocks to come",
        "3 better, 2 alike, 1 worse of 6 pairs",
        "its answers against the present ones",
        "the team's answers against single ones",
        "revision 2, ",
        "Calls of the latest 40 tasks",
        "What looking for changes took: 360,010 tokens in all.",
        "60 of 120 finished tasks: the server has no dialogue of theirs.",
        "Trials and findings of loops that the server no longer has: made-up/loop/5.",
        "Squares: means of 2 batches that began earlier with two standard errors",
    ):
        assert words in full.text, words


def test_nothing_improved_unless_the_verdict_says_so(full: Page) -> None:
    assert "improved" not in full.text
    life = newborn()
    found = Verified(verdict="improved", blocks=20, gain=0.05, low=0.01, high=0.09)
    life.ledger.append(entry(1, BEGIN, "").model_copy(update={"verified": found}))
    assert "improved: it improved: the test says so" in Page(life).text


def test_arguments_without_a_dissonance_are_counted_and_not_made_up() -> None:
    unmeasured = [each._replace(dissonance=None) for each in lived(30).arguments]
    page = Page(replace(newborn(), arguments=unmeasured))
    argued = sum(each.outcome != "failed" for each in unmeasured)
    assert f"{argued} arguments without a measured dissonance" in page.text
    titles = re.findall("<h3>(.*?)</h3>", page.source)
    assert titles == ["The ledger over time", "Turns", "Tokens", "How arguments ended"]


def test_a_life_that_has_ended_ends_with_what_happened_last() -> None:
    argued = lived(2).arguments
    life = replace(newborn(), ended="completed", arguments=argued, written_at=BEGIN + timedelta(days=9))
    assert life.until == argued[-1].ended_at
    assert "(its workflow is completed)" in Page(life).text


def test_a_moving_mean_is_that_of_the_values_around() -> None:
    values = np.array([0.0, 3.0, 6.0, 3.0, 0.0])
    mean, error = moving(values, 3, np.arange(5))
    assert mean.tolist() == [1.5, 3.0, 4.0, 3.0, 1.5]
    assert error[2] == pytest.approx(1.0)
    assert [around(n) for n in (4, 5, 2_000)] == [0, 5, 41]
