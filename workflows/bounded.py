"""Lists that stay small at any age. Pure."""

from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel
from pydantic_core import to_json

Item = TypeVar("Item", bound=BaseModel | str)


def size_of(item: BaseModel | str) -> int:
    return len(to_json(item))


def keep_newest(items: Iterable[Item], most: int, most_bytes: int) -> list[Item]:
    """The newest items, at most `most` of them and at most `most_bytes` of JSON; the order stays."""
    kept: list[Item] = []
    room = most_bytes
    for item in reversed(list(items)[-most:]):
        size = size_of(item)
        if size > most_bytes:
            continue  # it alone would push out all the others
        room -= size
        if room < 0:
            break
        kept.append(item)
    return kept[::-1]
