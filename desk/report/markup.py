"""HTML: all text is escaped here, and what would deceive the eye in it is replaced."""

from collections.abc import Iterable, Sequence
from html import escape

from messages.visible import visible

SHORT = 18


class Html(str):
    """Markup already."""


def text(said: object) -> Html:
    """Any text as itself."""
    return said if isinstance(said, Html) else Html(escape(visible(str(said))))


def element(tag: str, *inside: object, **attributes: object) -> Html:
    """`data_head` is the attribute data-head, `class_` class."""
    named = (
        f' {name.strip("_").replace("_", "-")}="{text(value)}"' for name, value in attributes.items() if value
    )
    return Html(f"<{tag}{''.join(named)}>{joined(inside)}</{tag}>")


def joined(parts: Iterable[object], between: str = "") -> Html:
    return Html(between.join(map(text, parts)))


def lines(of: Iterable[object]) -> Html:
    """Several texts in one place, each on a line of its own."""
    return joined(element("div", each) for each in of)


def paragraph(said: object) -> Html:
    return element("p", said)


def section(name: str, title: str, *inside: object) -> Html:
    return element("section", element("h2", title), *inside, id=name)


def facts(of: Iterable[tuple[str, object]]) -> Html:
    """Names and what is to be said of each."""
    return element("dl", *(element("div", element("dt", name), element("dd", told)) for name, told in of))


def listed(of: Iterable[object]) -> Html:
    return element("ul", *(element("li", each) for each in of))


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """A cell that is a number stands at the right. Where there is no room, a row becomes a list."""
    body = (
        element(
            "tr",
            *(
                element("td", _shown(cell), data_head=head, class_=_kind(cell))
                for head, cell in zip(heads, row, strict=True)
            ),
        )
        for row in rows
    )
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *(element("th", head, scope="col") for head in heads))),
        element("tbody", *body),
    )


def _shown(cell: object) -> object:
    if isinstance(cell, float):
        return f"{cell:,.1f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _kind(cell: object) -> str:
    if isinstance(cell, int | float):
        return "number"
    # What is short enough stays on one line, whoever wrote it.
    return "short" if isinstance(cell, str) and len(cell) <= SHORT and not isinstance(cell, Html) else ""
