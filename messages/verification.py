"""Whether a change helped: how its verification stands, and what the ledger keeps of it."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from messages.loops import Change
from messages.trials import Effect, Moments

Verdict = Literal["improved", "kept_unconfirmed", "harmful", "no_difference", "superseded"]
KEPT: frozenset[Verdict] = frozenset({"improved", "kept_unconfirmed"})
"""The verdicts by which the new settings stay."""
REVERSED: frozenset[Verdict] = frozenset({"harmful", "no_difference"})
"""The verdicts by which their reversal is proposed."""

VERDICTS: dict[Verdict, str] = {
    "improved": "it improved: the test says so",
    "kept_unconfirmed": "it stays, which no test has confirmed",
    "harmful": "it does harm",
    "no_difference": "no gain can be seen",
    "superseded": "settings.toml was changed before it could be told",
}


PINNED = "Tasks run under the old values, although settings.toml has the new ones"
"""What a person must know where a change does harm."""


class Look(BaseModel):
    """What was found at one look, of a task's loss: the gain so far with its interval of 90%.

    `better`: the posterior probability of a gain. `p`: of the t test that there is none.
    """

    blocks: int
    gain: float
    low: float
    high: float
    better: float
    p: float

    def row(self) -> list[str]:
        gain, interval = f"{self.gain:+.3f}", f"{self.low:+.3f} to {self.high:+.3f}"
        return [gain, interval, f"{self.better:.2f}", f"{self.p:.2g}"]


class Looking(BaseModel):
    """What a look is taken at: the differences of the blocks so far, and what was expected before them."""

    differences: Moments
    expected: Effect


class Verified(BaseModel):
    """What the ledger keeps of a verification: its verdict and the gain, with its interval of 90%.

    `ended_by`: the person who ended it, where it did not end by itself.
    """

    verdict: Verdict
    blocks: int
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    ended_by: str = ""

    def __str__(self) -> str:
        by = f", ended by {self.ended_by}" if self.ended_by else ""
        return f"{self.verdict}: {VERDICTS[self.verdict]}{by}; {gain_in_words(self.blocks, self)}"


class VerificationView(BaseModel):
    """The change that is being verified, or the last one: the answer to the query `verification`.

    loop_id         whose change it is; of a person's edit (`by_person`) the id of the image and `revision`
    blocks          blocks of two tasks that were counted so far, of at most `cap`
    effect          the mean gain of a task's loss, and its `interval` of 90%
    better          the posterior probability of a gain
    harm            the e-value of harm, of which `harm_at` is the end
    guardrails      those of failures and of people's ratings, of which `guardrail_at` is the end
    looks           those passed; `looks_to_come`: after how many blocks the others are
    levels          what p must not exceed at each look, by its blocks, for the claim that it improved
    settled         nothing more comes of it
    reversal        the loop that asks for the way back, if one does
    pinned          tasks run under the old values though settings.toml has the new ones
    standing        all of it in a sentence
    """

    loop_id: str
    revision: int
    by_person: bool = False
    changes: list[Change]
    since: datetime
    ends_at: datetime
    cap: int
    blocks: int
    effect: float | None = None
    interval: tuple[float, float] | None = None
    better: float
    harm: float
    harm_at: float = 0.0
    guardrails: dict[str, float] = {}
    guardrail_at: float = 0.0
    looks: list[Look] = []
    looks_to_come: list[int] = []
    levels: dict[int, float] = {}
    verdict: Verdict | None = None
    ended_by: str = ""
    comment: str = ""
    reversal: str = ""
    pinned: bool = False
    settled: bool = False
    standing: str = ""
    claims: int = 0
    verified: int = 0

    def heads(self) -> list[str]:
        """Those of a table of the looks: it improved where p is at most the last figure."""
        return ["blocks", "gain", "90% interval", "better", "p", "p at most"]

    def rows(self) -> list[list[str]]:
        """A row for each look; of those to come only their blocks and the last figure are known."""
        passed = {look.blocks: look.row() for look in self.looks}
        to_come = {blocks: ["to come", "", "", ""] for blocks in self.looks_to_come}
        return [
            [str(blocks), *told, f"{self.levels[blocks]:g}" if blocks in self.levels else ""]
            for blocks, told in (passed | to_come).items()
        ]


def gain_in_words(blocks: int, of: Verified | Look | None) -> str:
    """The gain after so many blocks, as it was computed."""
    counted = f"{blocks} block{'s' * (blocks != 1)} of two tasks"
    if of is None or of.gain is None or of.low is None or of.high is None:
        return f"{counted}, too few for a figure"
    return f"{counted}, gain {of.gain:+.3f} (90%: {of.low:+.3f} to {of.high:+.3f})"
