"""How a model call can fail, how often each failure is tried again, and how that is counted.

Every failure is an `ApplicationError` whose `type` is a key of `PAUSES`, so the Web UI shows it by name. The
activity says itself when to stop: the workflow's retry policy needs no maximum of its own.
"""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

from pydantic import ValidationError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from messages.calls import Heard
from messages.common import excerpt

FailureType = Literal[
    "PromptsBroken",
    "PromptTooLong",
    "ModelAddressBroken",
    "ModelNotPulled",
    "ModelRefused",
    "ModelUnreachable",
    "ModelServerError",
    "ModelTooSlow",
    "AnswerNotJson",
    "AnswerEmpty",
    "AnswerCutOff",
]

PAUSES: dict[FailureType, tuple[int, ...]] = {
    # A person has to change something first; the same call again would fail the same way.
    "PromptsBroken": (),
    "PromptTooLong": (),
    "ModelAddressBroken": (),
    "ModelNotPulled": (),
    "ModelRefused": (),
    # About three minutes in all: a machine that reboots, or a large model server that starts anew.
    "ModelUnreachable": (1, 4, 10, 20, 35, 50, 60),
    # Out of memory or a crashed runner: the server reloads the model, which takes seconds.
    "ModelServerError": (3, 10),
    # The server is overloaded: twice the call timeout is long enough to know.
    "ModelTooSlow": (5,),
    # Chance decides; the next answer may be better at once.
    "AnswerNotJson": (1, 1),
    "AnswerEmpty": (1, 1),
    # An answer that was too long is probably too long again.
    "AnswerCutOff": (1,),
}
"""Seconds to pause after the first, second, ... failure of a type. One more failure is the last."""

MOST_ATTEMPTS = 100
"""Failures are counted in heartbeats, which a server may lose: this ends the attempts all the same."""

MOST_CHARACTERS = 2_000
"""Of a failure's sentence: one that is too large for the server is none, and is tried again in silence."""

MOST_HEARD = 2_000
"""Characters of what is being said, in a heartbeat: one goes to the server each second."""


class Attempt:
    """This attempt of the running activity: what its heartbeats and its failure say.

    An attempt that ended with its worker, or in another failure, uses up none of a failure's attempts.
    `said` tells what was said so far, where that is for people to read.
    """

    def __init__(self, persona: str = "") -> None:
        self.persona = persona
        self.state = ""
        self.tokens = 0
        self.said: Callable[[], str] = str
        self._failed = _failed_before()

    def beat(self) -> None:
        """Send a heartbeat."""
        said = self.said()
        heard = Heard(
            persona=self.persona,
            state=self.state,
            tokens=self.tokens,
            said=said[-MOST_HEARD:],
            before=max(len(said) - MOST_HEARD, 0),
            failed=dict(self._failed),
        )
        activity.heartbeat(heard.model_dump())

    def failure(self, kind: FailureType, sentence: str) -> ApplicationError:
        """The error to raise: it knows its pause before the next attempt, or that it was the last."""
        sentence = sentence if len(sentence) <= MOST_CHARACTERS else excerpt(sentence, MOST_CHARACTERS)
        pauses = PAUSES[kind]
        self._failed[kind] += 1
        self.said = str  # the next attempt begins anew
        self.beat()
        count, most = self._failed[kind], len(pauses) + 1
        if count >= most or activity.info().attempt >= MOST_ATTEMPTS:
            tried = f" (tried {count} times)" if count > 1 else ""
            return ApplicationError(sentence + tried, type=kind, non_retryable=True)
        pause = pauses[count - 1]
        return ApplicationError(
            f"{sentence} ({count} of {most} attempts, the next in {pause} s)",
            type=kind,
            next_retry_delay=timedelta(seconds=pause),
        )


class SingleAttempt(Attempt):
    """The only attempt of a call that belongs to no activity: no heartbeat, and no other after it."""

    def beat(self) -> None:
        """Nobody hears it but whoever calls `said`."""

    def failure(self, kind: FailureType, sentence: str) -> ApplicationError:
        return ApplicationError(excerpt(sentence, MOST_CHARACTERS), type=kind, non_retryable=True)


def _failed_before() -> Counter[str]:
    if not activity.in_activity():
        return Counter()
    try:
        return Counter(Heard.model_validate(activity.info().heartbeat_details[0]).failed)
    except (IndexError, ValidationError):
        return Counter()
