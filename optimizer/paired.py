"""What trials came to, the same tasks under a candidate and under the present settings.

Standard library only.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from messages.trials import Moments, Round
from optimizer.goals import Goals


@dataclass
class Paired:
    """Of one candidate: present loss - its loss on each task, how many it won and lost, and what failed.

    `tokens`: what it took more than the present settings, in tokens a task.
    """

    gain: Moments
    tokens: Moments
    won: int = 0
    lost: int = 0
    failed: int = 0
    failed_present: int = 0

    @property
    def standard_error(self) -> float | None:
        """Of the mean gain; None below two tasks."""
        return None if self.gain.variance is None else math.sqrt(self.gain.variance / self.gain.n)


def paired(rounds: Iterable[Round], values: object, goals: Goals) -> Paired:
    """All rounds in which these values were tried, together."""
    found = Paired(Moments(), Moments())
    for tried in rounds:
        for arm, candidate in enumerate(tried.candidates, 1):
            if candidate.values == values:
                _add(found, tried, arm, goals)
    return found


def _add(found: Paired, tried: Round, arm: int, goals: Goals) -> None:
    found.failed += sum(one.outcome == "failed" for one in tried.replays if one.arm == arm)
    found.failed_present += sum(one.outcome == "failed" for one in tried.replays if one.arm == 0)
    present = {one.task_id: one for one in tried.replays if one.arm == 0}
    for new in tried.replays:
        old = present.get(new.task_id)
        if new.arm != arm or old is None or old.dissonance is None or new.dissonance is None:
            continue
        gain = goals.loss(old.dissonance, old.tokens) - goals.loss(new.dissonance, new.tokens)
        found.gain.add(gain)
        found.tokens.add(new.tokens - old.tokens)
        found.won += gain > 0
        found.lost += gain < 0
