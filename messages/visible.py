"""Text of models, people and files without what would deceive the eye, wherever it is shown."""

import re
import unicodedata
from collections.abc import Iterator

_UNCOMMON = re.compile(r"[^\n\t -~\w]+")


def visible(text: str) -> str:
    """What hides, reorders or paints over the text around it, replaced by a sign that something was there."""
    return _UNCOMMON.sub(lambda run: "".join(_signs(run[0])), text)


def _signs(run: str) -> Iterator[str]:
    marks = 0
    for char in run:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        hidden = category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        yield "�" if hidden or marks > 2 else char
