"""Goals that the personas set themselves."""

from pydantic import BaseModel

from configuration import Settings
from messages.calls import PersonaCall, Usage
from messages.common import Persona, Unit


class InquiryStart(BaseModel):
    """Why the personas look for a goal, and what they must not come near to: recent tasks and goals.

    `personas` are the team as it was then, so that one who joins later changes no inquiry of before.
    """

    image_id: str
    inquiry_id: str
    reason: str
    recent: list[str]
    personas: list[Persona]
    settings: Settings


class Goal(BaseModel):
    """A task that a persona would like the team to take on. `score` is the mean of the others' scores."""

    persona: Persona
    goal: str
    why: str
    score: float | None = None


class Imagining(BaseModel):
    """The order to imagine goals, none of them near to a recent one."""

    call: PersonaCall
    recent: list[str]


class Imagined(BaseModel):
    """Goals, without those that came too near to a recent one, of which `near` counts."""

    goals: list[Goal]
    near: int = 0
    usage: Usage


class Scoring(BaseModel):
    """The order to score goals of others."""

    call: PersonaCall
    goals: list[str]


class Scores(BaseModel):
    """One score from 0 to 1 for each goal, in their order."""

    scores: list[Unit]
    usage: Usage


class InquiryConcluded(BaseModel):
    """What an inquiry came to: its result and its signal to the image. Without a goal, why there is none."""

    inquiry_id: str
    best: Goal | None = None
    goals: list[Goal] = []
    reason: str = ""
