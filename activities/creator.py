"""The Creator: a model that reads what may be changed and what became of it, and thinks of candidates.

After AgentHPO (Liu et al., 2024, arXiv 2402.01881): the meanings of the keys and the history in words. What
it answers is only a candidate: the optimizer drops what breaks a rule and weighs the rest as its own.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, create_model

from configuration import Tunable, Value
from messages.calls import Creating
from messages.common import excerpt
from messages.trials import Candidate

MOST_CANDIDATES = 3
REASON_CHARACTERS = 300


class Wish(BaseModel):
    key: str
    value: Value


class WishedCandidate(BaseModel):
    changes: Annotated[list[Wish], Field(min_length=1, max_length=2)]
    reason: Annotated[str, StringConstraints(strip_whitespace=True)]


class CandidatesAnswer(BaseModel):
    """What the model must answer; see `candidates_answer` for the keys."""

    candidates: list[WishedCandidate]

    def named(self) -> list[Candidate]:
        return [
            Candidate(
                values={wish.key: wish.value for wish in wished.changes},
                source="creator",
                reason=excerpt(wished.reason, REASON_CHARACTERS),
            )
            for wished in self.candidates
        ]


def candidates_answer(tunables: list[Tunable]) -> type[CandidatesAnswer]:
    """The form of an answer that names only keys that may be changed."""
    key: Any = Literal[tuple(tunable.key for tunable in tunables)]
    wish = create_model("Wish", __base__=Wish, key=(key, ...))
    changes: Any = Annotated[list[wish], Field(min_length=1, max_length=2)]
    wished = create_model("WishedCandidate", __base__=WishedCandidate, changes=(changes, ...))
    candidates: Any = Annotated[list[wished], Field(max_length=MOST_CANDIDATES)]
    return create_model("CandidatesAnswer", __base__=CandidatesAnswer, candidates=(candidates, ...))


def told(order: Creating) -> dict[str, str]:
    """What fills the placeholders of prompts.toml's entry `candidates`."""
    return {
        "keys": "\n".join(_key(tunable, order.values[tunable.key]) for tunable in order.tunables),
        "past": "\n".join(order.past) or "nothing yet",
        "top": "\n".join(map(_candidate, order.top)) or "nothing",
    }


def _key(tunable: Tunable, now: Value) -> str:
    if tunable.kind == "choice":
        allowed = f"one of {', '.join(tunable.choices)}"
    else:
        allowed = f"{tunable.low:g} to {tunable.high:g}, at most {tunable.step:g} more or less"
    return f"{tunable.key}: {tunable.meaning}; now {now}; {allowed}"


def _candidate(candidate: Candidate) -> str:
    changes = ", ".join(f"{key} = {value}" for key, value in candidate.values.items())
    effect = candidate.effect
    return f"{changes}: expected gain {effect.gain:+.3f}" if effect else changes
