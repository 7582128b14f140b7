"""What anybody might send to a handler, as the arguments of one message."""

import math
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue


def as_sent(data: bytes, encoding: bytes = b"json/plain") -> RawValue:
    """A payload as it is, past every check of the client."""
    return RawValue(Payload(metadata={"encoding": encoding}, data=data))


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


WORDS: dict[str, list[Any]] = {"a string": ["words"], "an empty string": [""]}
NOTHING: dict[str, list[Any]] = {"nothing": [], "null": [None], "an empty object": [{}]}
GARBAGE: dict[str, list[Any]] = {
    "zero": [0],
    "a number": [-7.5],
    "NaN": [math.nan],
    "a yes": [True],
    "a list": [["approve", 1]],
    "an empty list": [[]],
    "a deep list": [nested(100)],
    "an unknown field": [{"nonsense": 1}],
    "a huge text": ["x" * 100_000],
    "a huge field": [{"nonsense": "x" * 100_000}],
    "bytes": [b"\xff\x00"],
}
UNREADABLE: dict[str, list[Any]] = {
    "broken JSON": [as_sent(b"{not json")],
    "half a character": [as_sent(b'"\\ud800"')],
    "a secret": [as_sent(b"??", b"binary/encrypted")],
    "two arguments": [{}, {}],
}
EVERYTHING = NOTHING | WORDS | GARBAGE | UNREADABLE
