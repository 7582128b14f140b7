"""From what the personas answer to goals: what they may be, how near two of them are, what they are worth.

Asked for a number, small models say the same one nearly always (see activities/dissonance.py), so goals are
scored by ordered labels too.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, create_model

Worth = Literal["pointless", "fair", "good", "excellent"]

WORTH: dict[Worth, float] = {"pointless": 0.0, "fair": 0.3, "good": 0.7, "excellent": 1.0}

NEAR = 75.0
"""Two goals whose words agree this far, in per cent whatever their order, are taken for the same."""

_Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=8, max_length=300)]


class ImaginedGoal(BaseModel):
    goal: _Line
    why: _Line


class GoalsAnswer(BaseModel):
    """What the model must answer when it imagines goals."""

    goals: Annotated[list[ImaginedGoal], Field(min_length=1, max_length=2)]


class ScoresAnswer(BaseModel):
    """What the model must answer when it scores goals; see `scores_answer` for the length."""

    scores: list[Worth]


def scores_answer(goals: int) -> type[ScoresAnswer]:
    """The form of an answer that scores this many goals, in their order."""
    exactly: Any = Annotated[list[Worth], Field(min_length=goals, max_length=goals)]
    return create_model("ScoresAnswer", __base__=ScoresAnswer, scores=(exactly, ...))


def is_near(goal: str, others: list[str]) -> bool:
    """Whether a goal says what one of the others says, by the words they share."""
    from rapidfuzz import fuzz  # noqa: PLC0415 - 50 ms at every start, for who seldom imagines a goal

    return any(fuzz.token_set_ratio(goal.lower(), other.lower()) >= NEAR for other in others)
