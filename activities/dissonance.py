"""From the label a model gives to a dissonance: the one place that knows the figures.

Small models asked for a number say 0.5 nearly always; asked for one of four labels, with examples, they
judge well. The labels and their examples are explained to the model in prompts.toml, entry `dissonance`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from messages.tasks import Dissonance

Label = Literal["same", "partly_different", "unrelated", "opposite"]

# Ordered by how much is left to argue about. The usual threshold, 0.4, lies in the widest gap: two answers
# that differ in part have converged, two that speak past each other have not.
DISSONANCE: dict[Label, float] = {
    "same": 0.0,
    "partly_different": 0.3,
    "unrelated": 0.7,
    "opposite": 1.0,
}


class DissonanceAnswer(BaseModel):
    """What the model must answer; its JSON schema goes with the call."""

    model_config = ConfigDict(extra="forbid")

    label: Label

    def dissonance(self) -> Dissonance:
        return Dissonance(label=self.label, value=DISSONANCE[self.label])
