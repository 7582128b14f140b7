"""The keys of LIVING_IMAGE_KEYS, by which what a Temporal server is told is encrypted."""

import os
from typing import TYPE_CHECKING

from connection.problems import Problem

if TYPE_CHECKING:
    from messages.keys import Keys

VARIABLE = "LIVING_IMAGE_KEYS"


def is_on() -> bool:
    return bool(os.environ.get(VARIABLE, "").strip())


def keys() -> "Keys | None":
    """The keys of the environment; None where none are set. Raises Problem where they cannot be read."""
    if not is_on():
        return None
    # Imported here: who has no keys does not wait for the library.
    from messages.keys import MalformedKeys, keys  # noqa: PLC0415

    try:
        return keys()
    except MalformedKeys as fault:
        raise Problem(str(fault)) from None
