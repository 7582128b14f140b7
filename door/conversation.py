"""A chat as one task of the image: the last message of the user, after what was said before it."""

from collections.abc import Sequence

from door.refusals import Refusal
from door.requests import INSTRUCTIONS, Message
from messages.common import TASK_BYTES

_BEFORE = "What was said before, oldest first:\n\n<conversation>\n"
_AFTER = "\n</conversation>\n\nThe message to answer:\n"
_LEFT_OUT = "(left out, for a task is at most {bytes} bytes: {count} earlier messages)\n"


def task_of(messages: Sequence[Message]) -> str:
    """The text of the task, at most TASK_BYTES. Raises Refusal.

    What does not fit is left out, the oldest messages first and instructions last; the text says how many.
    """
    said = [message for message in messages if message.content.strip()]
    last = next((place for place in reversed(range(len(said))) if said[place].role == "user"), None)
    if last is None:
        raise Refusal(400, "messages: none of them is a user's text to answer", "no_task", "messages")
    if any(message.role == "assistant" for message in said[last:]):
        raise Refusal(
            400,
            "messages: the last one is an answer, and the image does not go on with answers; ask anew",
            "no_task",
            "messages",
        )
    task = said.pop(last).content
    if (size := len(task.encode())) > TASK_BYTES:
        raise Refusal(
            400,
            f"messages: the last one takes {size} bytes, and a task is at most {TASK_BYTES} long; shorten it",
            "context_length_exceeded",
            "messages",
        )
    return _with_what_was_said(said, task) if said else task


def _with_what_was_said(said: Sequence[Message], task: str) -> str:
    note = _LEFT_OUT.format(bytes=TASK_BYTES, count=len(said))
    room = TASK_BYTES - len((_BEFORE + note + _AFTER + task).encode())
    if room < 0:
        return task
    kept: set[int] = set()
    for instructs in (True, False):
        for place in reversed(range(len(said))):
            if (said[place].role in INSTRUCTIONS) is instructs:
                room -= len(_tagged(said[place]).encode()) + 1
                if room < 0:
                    break
                kept.add(place)
        if room < 0:
            break
    count = len(said) - len(kept)
    note = _LEFT_OUT.format(bytes=TASK_BYTES, count=count) if count else ""
    told = "\n".join(_tagged(said[place]) for place in sorted(kept))
    return f"{_BEFORE}{note}{told}{_AFTER}{task}"


def _tagged(message: Message) -> str:
    return f"<{message.role}>\n{message.content.strip()}\n</{message.role}>"
