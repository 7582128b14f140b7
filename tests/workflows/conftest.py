"""Workflows that are not about time get all that they ask for: what they come to is no question of speed."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from activities import conditions
from activities.memory import recall
from workflows.orders import thinking


@pytest.fixture(autouse=True)
def unhurried() -> Iterator[None]:
    """What in an argument is only waited for a little, the list of models and the memory, is waited for."""
    # Not that of the test, which may undo it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditions, "WAITED_FOR_SECONDS", 30.0)
        patch.setattr(recall, "RECALL_SECONDS", 30.0)
        patch.setattr(thinking, "RECALL_WITHIN", timedelta(seconds=60))
        yield
