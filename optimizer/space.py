"""Tunables as points of the unit cube, and the steps that may be asked for from where the image stands.

A number takes one column, over its bounds. A choice takes a column for each of its words, as high as makes
the correlation of two words .5 at the length that `optimizer/surrogate.py` begins with.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from configuration import Tunable, Value

Array = NDArray[np.float64]
Values = dict[str, Value]

MOST_KEYS = 2
"""A person has to follow what is changed, and a trial has to tell what made the difference."""

# Matern 5/2 is .5 at 1.043 lengths; two words are sqrt(2) columns apart, and the first length is .5.
_WORD_APART = 1.043 * 0.5 / math.sqrt(2)
# Above what adding up decimal steps goes wrong by, below any step.
_SLACK = 1e-9
_DECIMALS = 6


class Space:
    """What may be tuned, as a cube. `keys`: for each column, the index of its tunable."""

    def __init__(self, tunables: Iterable[Tunable]) -> None:
        self.tunables = {tunable.key: tunable for tunable in tunables}
        widths = [len(one.choices) if one.kind == "choice" else 1 for one in self.tunables.values()]
        self.keys: Array = np.repeat(np.arange(len(widths), dtype=float), widths)

    def encode(self, rows: Iterable[Mapping[str, Value]], present: Mapping[str, Value]) -> Array:
        """Points of the cube, shape (rows, columns). What a row does not name is as at present."""
        points = [
            [x for key, one in self.tunables.items() for x in _columns(one, row.get(key, present[key]))]
            for row in rows
        ]
        return np.array(points, dtype=float).reshape(len(points), len(self.keys))

    def moves(self, present: Mapping[str, Value], far: int = 1) -> dict[str, list[Value]]:
        """Of each key, where at most so many steps, by halves, lead within its bounds, or the other words."""
        return {key: _moves(one, present[key], far) for key, one in self.tunables.items()}

    def steps(self, present: Mapping[str, Value]) -> list[Values]:
        """What may be asked for: at most two keys changed, each by one of its moves."""
        moves = self.moves(present)
        single = [{key: value} for key, values in moves.items() for value in values]
        double = [
            {one: a, other: b}
            for one, other in combinations(self.tunables, MOST_KEYS)
            for a in moves[one]
            for b in moves[other]
        ]
        return single + double

    def is_step(self, values: Values, present: Mapping[str, Value]) -> bool:
        """Whether a person may be asked for exactly these."""
        return self.changed(values, present) == values

    def changed(self, values: Mapping[str, Value], present: Mapping[str, Value]) -> Values | None:
        """Of values that somebody asks for, those that differ; None where they may not be tried.

        They may be of at most two tunable keys, within bounds, and at most the declared step away.
        """
        if any(key not in self.tunables for key in values):
            return None
        found: Values = {}
        for key, value in values.items():
            tunable, now = self.tunables[key], present[key]
            if type(value) is type(now) and value == now:
                continue
            if not _reaches(tunable, now, value):
                return None
            if (whole := _whole(tunable, value)) != now:
                found[key] = whole
        return found if 0 < len(found) <= MOST_KEYS else None


def _columns(tunable: Tunable, value: Value) -> Iterator[float]:
    if tunable.kind == "choice":
        yield from (_WORD_APART * (value == word) for word in tunable.choices)
        return
    # Values of old rows may lie outside bounds that were narrower once.
    share = (float(value) - tunable.low) / ((tunable.high - tunable.low) or 1.0)
    yield min(max(share, 0.0), 1.0)


def _moves(tunable: Tunable, present: Value, far: int) -> list[Value]:
    if tunable.kind == "choice":
        return [word for word in tunable.choices if word != present]
    now = float(present)
    strides = [tunable.step * half / 2 for half in range(-2 * far, 2 * far + 1)]
    asked = (_whole(tunable, min(max(now + stride, tunable.low), tunable.high)) for stride in strides)
    return [
        value for value in dict.fromkeys(asked) if value != present and _reaches(tunable, present, value, far)
    ]


def _whole(tunable: Tunable, value: Value) -> Value:
    if tunable.kind == "choice":
        return value
    return round(float(value)) if tunable.kind == "integer" else round(float(value), _DECIMALS)


def _reaches(tunable: Tunable, present: Value, value: Value, far: int = 1) -> bool:
    if tunable.kind == "choice":
        return value in tunable.choices
    if isinstance(value, bool | str) or (tunable.kind == "integer" and not isinstance(value, int)):
        return False
    within = tunable.low - _SLACK <= value <= tunable.high + _SLACK
    return within and abs(value - float(present)) <= far * tunable.step + _SLACK
