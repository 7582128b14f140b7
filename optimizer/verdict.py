"""Did an approved change help? Decided block by block, while it runs. Standard library only.

Tasks run in random blocks of two, one under the old and one under the new settings; of each block only
D = loss under the old - loss under the new counts, each corrected for its type of task. Three questions are
asked of the D so far, and the first that is answered ends the watch:

- Does it do harm? By an e-process, which may be looked at after every block (Ramdas et al. 2023).
- Did it improve? By t tests at looks that were fixed before, with bounds of O'Brien and Fleming (1979): at
  most 5% of the changes that make no difference are claimed to.
- Is it wise to keep it? By the posterior, every ten blocks and at the cap. That decides, and claims nothing.
"""

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Literal

from pydantic import BaseModel

from messages.trials import Effect, Moments

Verdict = Literal["improved", "kept_unconfirmed", "harmful", "no_difference"]
KEPT: frozenset[Verdict] = frozenset({"improved", "kept_unconfirmed"})
"""The verdicts by which the new settings stay; by the others their reversal is proposed."""

HARM_AT = 10.0
"""By Ville's inequality, a change that makes no difference reaches this once in ten times at most."""
_STAKES = (1.0, 2.0, 4.0, 8.0)
"""What the e-process bets on: harm from about 1 down to about .1."""

LOOKS = (3 / 8, 3 / 4, 1.0)
"""When it is asked whether it improved, in shares of the cap: 15, 30 and 40 of 40 blocks."""
LEVELS = (0.00245, 0.02333, 0.04245)
"""The one-sided level of each look: z = 1.723 / sqrt(share), which makes .05 of all three together."""

POSTERIOR_EVERY = 10
KEEP_ABOVE, REVERT_BELOW = 0.97, 0.2
"""The posterior probability of a gain that ends the watch early: what keeps harmful changes from staying."""
KEEP_AT_CAP = 0.9

Posterior = Callable[[Moments], float]
"""From the D so far to the probability of a gain."""


class Look(BaseModel):
    """What was found at one look. `p`: of the t test, where one was due."""

    blocks: int
    better: float
    p: float | None = None


class Watch(BaseModel):
    """The state of a verification, of constant size but for its looks: at most one every four blocks.

    differences: the D so far. log_bets: for each stake, the logarithm of its part of the e-process.
    """

    cap: int
    differences: Moments = Moments()
    log_bets: list[float] = [0.0] * len(_STAKES)
    looks: list[Look] = []
    verdict: Verdict | None = None

    @property
    def harm(self) -> float:
        """The e-value: how much richer a bet on harm would have become."""
        return sum(map(math.exp, self.log_bets)) / len(self.log_bets)

    def add(self, difference: float, posterior: Posterior) -> Verdict | None:
        """Take the next block's D, in [-1, 1]. A verdict, once there, stays."""
        if self.verdict is None:
            self.differences.add(difference)
            bets = zip(self.log_bets, _STAKES, strict=True)
            self.log_bets = [told + _log_bet(stake * difference) for told, stake in bets]
            self.verdict = "harmful" if self.harm >= HARM_AT else self._look(posterior)
        return self.verdict

    def _look(self, posterior: Posterior) -> Verdict | None:
        blocks = self.differences.n
        level = levels(self.cap).get(blocks)
        if level is None and blocks % POSTERIOR_EVERY:
            return None
        p = None if level is None else p_value(self.differences)
        better = posterior(self.differences)
        self.looks.append(Look(blocks=blocks, better=better, p=p))
        if level is not None and p is not None and p <= level:
            return "improved"
        last = blocks >= self.cap
        if better > (KEEP_AT_CAP if last else KEEP_ABOVE):
            return "kept_unconfirmed"
        return "no_difference" if last or better < REVERT_BELOW else None


def levels(cap: int) -> dict[int, float]:
    """At how many blocks it is asked whether it improved, and at which one-sided level."""
    return {math.ceil(share * cap): level for share, level in zip(LOOKS, LEVELS, strict=True)}


def normal_posterior(expected: Effect) -> Posterior:
    """What was expected before, as a normal prior, with the D as they come."""
    prior_sd = (expected.high - expected.low) / (2 * NormalDist().inv_cdf(0.95))

    def better(differences: Moments) -> float:
        variance = differences.variance
        if not variance:
            return expected.better
        told, prior = differences.n / variance, 1 / prior_sd**2
        mean = (told * differences.mean + prior * expected.gain) / (told + prior)
        return NormalDist().cdf(mean * math.sqrt(told + prior))

    return better


def difference(old: tuple[str, float], new: tuple[str, float], effects: Mapping[str, float]) -> float:
    """D of a block from type and loss of its two tasks, in [-1, 1]. `effects`: of types, fixed beforehand."""
    (old_type, old_loss), (new_type, new_loss) = old, new
    found = old_loss - effects.get(old_type, 0.0) - (new_loss - effects.get(new_type, 0.0))
    return min(max(found, -1.0), 1.0)


def p_value(differences: Moments) -> float:
    """One-sided, of the t test that the mean is 0 or less."""
    variance = differences.variance
    if not variance:
        return 1.0
    return student_sf(differences.mean / math.sqrt(variance / differences.n), differences.n - 1)


def student_sf(t: float, freedom: int) -> float:
    """P(T > t) for whole degrees of freedom, as a finite sum (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(odd + 2, freedom + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    inside = math.sin(angle) * total
    if odd:
        inside = (angle + inside) * 2 / math.pi
    return (1 - inside) / 2


def _log_bet(stake: float) -> float:
    """log(2 / (1 + exp(2 stake))), whatever its size: 1 on average where D is symmetric about 0."""
    return math.log(2) - max(2 * stake, 0.0) - math.log1p(math.exp(-abs(2 * stake)))
