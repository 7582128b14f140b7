"""The pictures of a page, each with what it shows in words."""

from itertools import count

from desk.plots.inline import SIZE, WIDE, inline
from desk.plots.pictures import Picture
from desk.report.markup import Html, element


class Figures:
    """Draws them for one page: no two have an id in common."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self, picture: Picture) -> Html:
        return self._figure(picture, self._drawn(picture, SIZE))

    def in_both_widths(self, picture: Picture) -> Html:
        """Drawn twice: the page shows that for which it has room."""
        narrow = element("div", self._drawn(picture, SIZE), class_="narrow")
        wide = element("div", self._drawn(picture, WIDE), class_="wide")
        return self._figure(picture, narrow, wide)

    def _drawn(self, picture: Picture, size: tuple[float, float]) -> Html:
        return Html(inline(picture, f"p{next(self._numbers)}", size))

    def _figure(self, picture: Picture, *drawn: Html) -> Html:
        caption = element("figcaption", picture.told)
        return element("figure", element("h3", picture.title), *drawn, caption)


def grid(*figures: Html) -> Html:
    return element("div", *figures, class_="figures")
