"""The team: each persona, and what it is. All else that knows personas follows from here.

The keys of [models] in settings.toml, the names that messages accept, the entries that prompts.toml must
have, the speakers of an inquiry and the models that are looked for. When each speaks is said in `workflows/`.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Member(NamedTuple):
    """One persona. `entries`: those of prompts.toml that it alone speaks with.

    `model`: where settings name none for it. Whoever joins a team that has lived needs one, or the histories
    of before do not replay.
    """

    name: str
    role: str
    entries: tuple[str, ...]
    model: str = ""

    @property
    def key(self) -> str:
        """The key of [models] that names its model."""
        return self.name.lower()


Team = Sequence[Member]
"""In the order in which they are told and asked."""

TEAM: Team = (
    Member("ALFRED", "the steward", ("plan", "synthesis", "single")),
    Member("BABS", "the scout", ("research",)),
    Member("BRICK", "the analyst", ("thesis_first", "thesis_reply")),
    Member("ROBIN", "the heart", ("antithesis", "dissonance")),
)

COMMON_ENTRIES = ("goals", "goal_scores", "candidates", "compare")
"""The entries of prompts.toml that every persona speaks with."""
