"""A picture as SVG inside a page: its text stays text, and its colours are those of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, fromstring, tostring

from desk.plots.pictures import COLOURS, Picture, drawn

SIZE = (4.2, 2.7)
"""Inches: at nine points, its words can be read on 360 pixels."""
WIDE = (11.5, 2.5)

_VARIABLES = {colour: f"var(--{name})" for name, colour in COLOURS.items()}
_COLOUR = re.compile("|".join(_VARIABLES))
_NAMESPACE = re.compile(r"^\{.*\}")
_REFERENCE = re.compile(r"(?<=url\(#)[\w.-]+|(?<=^#)[\w.-]+")
_MORE_DIGITS = re.compile(r"(?<=\.\d\d)\d+")
_FONT = re.compile(r"font-family: [^;]*; ?")
_NOT_TURNED = "rotate(-0 "


def inline(picture: Picture, name: str, size: tuple[float, float] = SIZE) -> str:
    """The markup of a picture. `name`, other than any other of the page, begins the ids in it."""
    file = io.BytesIO()
    with drawn([picture], size, [1]) as figure:
        figure.savefig(file, format="svg", facecolor="none", metadata={"Date": None})
    root = fromstring(file.getvalue())
    _leave_out(root)
    known = set(_references(root))
    for element in root.iter():
        _rename(element, name, known)
    for group in root.iter("g"):
        _share_style(group)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"role": "img", "aria-label": f"{picture.title}. {picture.told}"}
    title = Element("title")
    title.text = picture.title
    root.insert(0, title)
    return tostring(root, encoding="unicode")


def _leave_out(root: Element) -> None:
    """What is about the file, and rules of style: in a page they would hold for all of it."""
    for parent in root.iter():
        for child in [*parent]:
            if _NAMESPACE.sub("", str(child.tag)) in ("metadata", "style"):
                parent.remove(child)


def _references(root: Element) -> Iterator[str]:
    for element in root.iter():
        for name, value in element.attrib.items():
            if name != "fill":
                yield from _REFERENCE.findall(value)


def _rename(element: Element, name: str, known: set[str]) -> None:
    """Plain names, as HTML has them; ids of this picture alone; colours by their variables; short numbers."""
    element.tag = _NAMESPACE.sub("", str(element.tag))
    element.text, element.tail = (element.text or "").strip(), None
    given = {_NAMESPACE.sub("", key): value for key, value in element.attrib.items()}
    if fill := given.pop("fill", ""):
        given["style"] = f"fill: {fill}"  # where a variable is one
    element.attrib = {
        key: _value(key, value, name)
        for key, value in given.items()
        if (key != "id" or value in known) and not value.startswith(_NOT_TURNED)
    }


def _value(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "style":
        value = _FONT.sub("", _COLOUR.sub(lambda found: _VARIABLES[found[0]], value))
    value = _REFERENCE.sub(rf"{name}-\g<0>", value)
    return value if key == "href" else " ".join(_MORE_DIGITS.sub("", value).split())


def _share_style(group: Element) -> None:
    """One style for all marks of a group instead of one each: there may be thousands."""
    styles = {mark.get("style", "") for mark in group}
    if len(group) > 1 and {mark.tag for mark in group} == {"use"} and len(styles) == 1:
        for mark in group:
            mark.attrib.pop("style", None)
        group.attrib["style"] = styles.pop()
