"""Did a change help? Decided block by block, while it runs. Standard library only.

Tasks run in random blocks of two, one under the old and one under the new settings; of each block only
D = loss under the old - loss under the new counts, each corrected for its type of task. Three questions are
asked of the D so far, and the first that is answered ends the watch:

- Does it do harm? By an e-process, which may be looked at after every block (Ramdas et al. 2023). Failures
  and people's ratings have one of their own.
- Did it improve? By t tests at looks that were fixed before, with bounds of O'Brien and Fleming (1979): at
  most 5% of the changes that make no difference are claimed to.
- Is it wise to keep it? By the posterior, at the same looks. That decides, and claims nothing.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Literal

from pydantic import BaseModel

from messages.trials import Effect, Moments
from messages.verification import Look, Verdict

HARM_AT = 10.0
"""By Ville's inequality, a change that makes no difference reaches this once in ten times at most."""
GUARDRAIL_AT = 20.0
"""The same, once in twenty times: there are two guardrails. Five tasks that fail on one side alone do it."""
_STAKES = (1.0, 2.0, 4.0, 8.0)
"""What an e-process bets on: harm from about 1 down to about .1."""

LOOKS = (1 / 4, 1 / 2, 3 / 4, 1.0)
"""When it is looked at, in shares of the cap: after 10, 20, 30 and 40 of 40 blocks.

That often, because the early looks keep what does harm from staying."""
LEVELS = (0.00026, 0.00714, 0.02270, 0.04154)
"""The one-sided level of each look: z = 1.733 / sqrt(share), which makes .05 of all four together."""

KEEP_ABOVE, REVERT_BELOW = 0.97, 0.2
"""The posterior probability of a gain that ends the watch at a look before the cap."""
KEEP_AT_CAP = 0.9
"""The same at the cap: what is kept is wrong once in ten times."""

USUAL = Effect(gain=0.0, low=-0.1, high=0.1, better=0.5, worse=0.2)
"""What a change does of which nobody has expected anything, such as a person's own."""
_VARIANCE, _WEIGHT = 0.04, 10
"""The variance of D before there are many, and how many D that counts for: two tasks of .02 each."""

Posterior = Callable[[Moments], float]
"""From the D so far to the probability of a gain."""
Guardrail = Literal["failures", "ratings"]


class Bets(BaseModel):
    """An e-process against harm: for each stake, the logarithm of what a bet on harm has become."""

    logs: list[float] = [0.0] * len(_STAKES)

    @property
    def value(self) -> float:
        """How much richer a bet on harm would have become."""
        return sum(map(math.exp, self.logs)) / len(self.logs)

    def add(self, difference: float, times: int = 1) -> None:
        """Take a difference in [-1, 1], below 0 for harm; `times` -1 takes one back."""
        bets = zip(self.logs, _STAKES, strict=True)
        self.logs = [told + times * _log_bet(stake * difference) for told, stake in bets]


class Watch(BaseModel):
    """What a verification has seen, of constant size: there are at most four looks.

    differences: the D so far. harm: what they say of harm. guardrails: the same of failures and ratings.
    due: the D as they were when a look fell due that is not taken yet. closing: no more blocks will come.

    Where a `posterior` is given, a look is taken as it falls due; where not, whoever asks takes it.
    """

    cap: int
    differences: Moments = Moments()
    harm: Bets = Bets()
    guardrails: dict[Guardrail, Bets] = {}
    looks: list[Look] = []
    due: list[Moments] = []
    closing: bool = False
    verdict: Verdict | None = None

    def add(self, difference: float, posterior: Posterior | None = None) -> Verdict | None:
        """Take the next block's D, in [-1, 1]. A verdict, once there, stays."""
        if self.verdict is None:
            self.differences.add(difference)
            self.harm.add(difference)
            if self.harm.value >= HARM_AT:
                self.verdict = "harmful"
            elif self.differences.n in levels(self.cap):
                self._fall_due(posterior)
        return self.verdict

    def guard(self, what: Guardrail, difference: float, times: int = 1) -> Verdict | None:
        """Take what counts beside the loss: below 0 where it speaks against the new settings."""
        if self.verdict is None:
            bets = self.guardrails.setdefault(what, Bets())
            bets.add(difference, times)
            self.verdict = "harmful" if bets.value >= GUARDRAIL_AT else None
        return self.verdict

    def close(self, posterior: Posterior | None = None) -> Verdict | None:
        """Decide by the posterior, for no more blocks will come."""
        if self.verdict is None and not self.closing:
            self.closing = True
            self._fall_due(posterior)
        return self.verdict

    def take(self, look: Look) -> Verdict | None:
        """Decide by the look that has been due the longest."""
        if self.verdict is None:
            self.due.pop(0)
            self.verdict = self._verdict_by(look)
        return self.verdict

    def looks_to_come(self) -> list[int]:
        return [] if self.verdict else list(levels(self.cap))[len(self.looks) :]

    def _verdict_by(self, look: Look) -> Verdict | None:
        closed = self.closing and not self.due
        if not closed:
            self.looks.append(look)
            if look.p <= levels(self.cap)[look.blocks]:
                return "improved"
        last = closed or look.blocks >= self.cap
        if _is_kept(look, KEEP_AT_CAP if last else KEEP_ABOVE):
            return "kept_unconfirmed"
        return "no_difference" if last or look.better < REVERT_BELOW else None

    def _fall_due(self, posterior: Posterior | None) -> None:
        self.due.append(self.differences.model_copy())
        if posterior:
            self.take(look_at(self.differences, posterior))


def _is_kept(look: Look, above: float) -> bool:
    """Never against what was seen, however much was expected before."""
    return look.better > above and (look.gain > 0 or not look.blocks)


def levels(cap: int) -> dict[int, float]:
    """After how many blocks it is looked at, and at which one-sided level."""
    return {math.ceil(share * cap): level for share, level in zip(LOOKS, LEVELS, strict=True)}


def look_at(differences: Moments, posterior: Posterior) -> Look:
    """What the D so far say; without two of them they have no interval."""
    low, high = interval(differences) or (-1.0, 1.0)
    return Look(
        blocks=differences.n,
        gain=differences.mean,
        low=low,
        high=high,
        better=posterior(differences),
        p=p_value(differences),
    )


def normal_posterior(expected: Effect) -> Posterior:
    """What was expected before, as a normal prior, with the D as they come.

    The surrogate's posterior before the first D has all data of before in it, so that with the D this is the
    posterior from all of them, and the image can compute it by itself.
    """
    prior_sd = (expected.high - expected.low) / (2 * NormalDist().inv_cdf(0.95))

    def better(differences: Moments) -> float:
        squares = differences.m2 + _WEIGHT * _VARIANCE
        variance = squares / (max(differences.n - 1, 0) + _WEIGHT)
        told, prior = differences.n / variance, 1 / prior_sd**2
        mean = (told * differences.mean + prior * expected.gain) / (told + prior)
        return NormalDist().cdf(mean * math.sqrt(told + prior))

    return better


def difference(old: float, new: float) -> float:
    """D of a block, in [-1, 1], from the losses of its two tasks, without what their types of task add."""
    return min(max(old - new, -1.0), 1.0)


def p_value(differences: Moments) -> float:
    """One-sided, of the t test that the mean is 0 or less."""
    variance = differences.variance
    if not variance:
        return 1.0
    return student_sf(differences.mean / math.sqrt(variance / differences.n), differences.n - 1)


def interval(differences: Moments, level: float = 0.9) -> tuple[float, float] | None:
    """Of the mean, by Student's t; None below two."""
    if differences.variance is None:
        return None
    half = student_isf((1 - level) / 2, differences.n - 1) * math.sqrt(differences.variance / differences.n)
    return differences.mean - half, differences.mean + half


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


def student_isf(p: float, freedom: int) -> float:
    """The t with P(T > t) = p, for p in (0, .5), by bisection."""
    low, high = 0.0, 1.0
    while student_sf(high, freedom) > p:
        high *= 2
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if student_sf(middle, freedom) > p else (low, middle)
    return high


def _log_bet(stake: float) -> float:
    """log(2 / (1 + exp(2 stake))), whatever its size: 1 on average where D is symmetric about 0."""
    return math.log(2) - max(2 * stake, 0.0) - math.log1p(math.exp(-abs(2 * stake)))
