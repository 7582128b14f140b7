"""What a change is judged by."""

from dataclasses import dataclass
from typing import Self

from configuration import Settings


@dataclass(frozen=True)
class Goals:
    """The loss of a task is dissonance + cost_weight * tokens / token_budget, in [0, 1]; less is better.

    minimum_gain    by how much the expected loss has to fall before a person is asked
    risk            the largest probability of a loss that rises by more than .05
    """

    cost_weight: float = 0.1
    token_budget: float = 20_000
    minimum_gain: float = 0.01
    risk: float = 0.35

    @classmethod
    def of(cls, settings: Settings) -> Self:
        told = settings.optimizer
        return cls(told.cost_weight, told.token_budget, told.minimum_gain, told.risk)

    def loss(self, dissonance: float, tokens: float) -> float:
        return min(max(dissonance + self.price(tokens), 0.0), 1.0)

    def price(self, tokens: float) -> float:
        """What tokens count for, in units of loss."""
        return self.cost_weight * tokens / self.token_budget
