"""How the scripted model server is to behave, and what it says then."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from testbed.model_calls import Asks, Call
from testbed.model_faults import EmbeddingFault, Fault, FaultKind
from testbed.model_habits import Habits, Listing


class Script(BaseModel):
    """How the server behaves.

    `labels` go round and round. As a dict, each task has its own: the key is its text, or a part of it.
    `labels_at`: instead, by the nearest temperature to that of the antithesis, as words such as "0.8".
    `prefers`: the answer with these words is the better one of two; without, neither is. `candidates` are
    what the Creator thinks of, as JSON of its answer has them.
    `goals` are imagined one after the other, two a call; `scores` are given to them by their text, as a list
    by their place.
    `says`: the whole answer to what is asked, instead of any other. `wire`: all that is sent instead of one.
    `models` are those that are pulled; None: every model is. `unknown_models` cannot be pulled.
    `embedding_status`: all but 200 are errors.
    `embedding_faults`: what happens to requests with a text that contains the key. Texts longer than
    `longest_embedded` characters are refused, and requests with more than `most_embedded_at_once`.
    Embeddings are bags of words in `dimension` numbers: texts that share no word are at right angles.
    """

    model_config = ConfigDict(extra="forbid")

    labels: list[str] | dict[str, list[str]] = ["partly_different"]
    labels_at: dict[str, str] = {}
    prefers: str = ""
    candidates: list[dict[str, Any]] = []
    needs_research: bool = False
    goals: list[str] = []
    scores: dict[str, str] | list[str] = {}
    says: dict[Asks, str] = {}
    wire: bytes | None = None
    habits: Habits = Habits()
    listing: Listing = Listing()
    delay_seconds: float = 0.0
    faults: list[Fault] = []
    models: list[str] | None = None
    unknown_models: list[str] = []
    embedding_status: int = 200
    embedding_faults: dict[str, EmbeddingFault] = {}
    longest_embedded: int | None = None
    most_embedded_at_once: int | None = None
    dimension: int = 512


class Answers:
    """What was said so far: the same question gets the same answer."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._labels_given: dict[str, int] = {}
        self._goals_given = 0

    def content(self, call: Call, script: Script) -> str:
        question = json.dumps([call.model, call.system, call.user, call.options.get("temperature")])
        if question not in self._given:
            self._given[question] = self._new_content(call, script)
        return self._given[question]

    def _new_content(self, call: Call, script: Script) -> str:
        said = script.says.get(call.asks) or self._scripted(call, script)
        return said if call.asks == "text" else script.habits.around.replace("ANSWER", said)

    def _scripted(self, call: Call, script: Script) -> str:
        count = len(self._given) + 1
        match call.asks:
            case "plan":
                plan = f"Plan {count}: weigh the reasons, then decide."
                said: Any = {"plan": plan, "needs_research": script.needs_research}
            case "goals":
                goals = [self._next_goal(count, place, script) for place in (1, 2)]
                said = {"goals": [{"goal": goal, "why": "Nobody asked it yet."} for goal in goals]}
            case "scores":
                said = {"scores": _scores(call, script)}
            case "dissonance":
                said = {"label": self._next_label(call, script)}
            case "candidates":
                said = {"candidates": script.candidates}
            case "compare":
                said = {"reason": "So the script says.", "better": _better(call, script)}
            case "text":
                at = _warmth(call) if script.labels_at or script.prefers else ""
                return f"This is answer {count}{at}, and it is a short one."
        return json.dumps(said)

    def _next_goal(self, count: int, place: int, script: Script) -> str:
        self._goals_given += 1
        if script.goals:
            return script.goals[(self._goals_given - 1) % len(script.goals)]
        return " ".join(hashlib.sha256(f"{count} {place} {word}".encode()).hexdigest()[:9] for word in "abc")

    def _next_label(self, call: Call, script: Script) -> str:
        if script.labels_at:
            *_, warmth = re.findall(r"said at ([\d.]+)", call.user)
            return script.labels_at[min(script.labels_at, key=lambda at: abs(float(at) - float(warmth)))]
        labels = script.labels
        task = ""
        if isinstance(labels, dict):
            task = next(task for task in labels if task in call.user)
            labels = labels[task]
        given = self._labels_given.get(task, 0)
        self._labels_given[task] = given + 1
        return labels[given % len(labels)]


def _warmth(call: Call) -> str:
    """At which temperature an answer is said, and after which last one, if any is told."""
    told = re.findall(r"said at ([\d.]+)", call.user)
    return f", said at {call.options.get('temperature')}" + (f", after {told[-1]}" if told else "")


def _scores(call: Call, script: Script) -> list[str]:
    asked = re.findall(r"^\d+\. (.*)$", call.user, re.MULTILINE)[: call.scores]
    if isinstance(script.scores, dict):
        return [script.scores.get(goal, "fair") for goal in asked]
    return script.scores[: len(asked)]


def _better(call: Call, script: Script) -> str:
    first, second = call.user.rpartition("First:")[2].split("Second:")
    if not script.prefers or (script.prefers in first) == (script.prefers in second):
        return "same"
    return "first" if script.prefers in first else "second"


def answer_lines(
    call: Call, content: str, fault: FaultKind | None, habits: Habits
) -> Iterator[dict[str, Any]]:
    """The lines of NDJSON in which a server tells an answer, a piece each."""
    pieces: list[dict[str, str]] = list(habits.thinking())
    if habits.thinks != "unclosed":
        pieces += [{"content": piece} for piece in re.findall(r"\s*\S+\s*|\s+", content)]
    # A thinking model spends its tokens on that; the others are taken to keep to the limit by themselves.
    limit = call.options.get("num_predict", len(pieces)) if habits.thinks != "no" else len(pieces)
    cut_off = fault == "cut_off" or len(pieces) > limit
    start = {"model": call.model, "created_at": "2025-01-01T00:00:00Z"}
    for count, piece in enumerate(pieces[:limit]):
        if fault == "drop" and count:
            raise ConnectionResetError("as the script says")
        if fault == "error_midway" and count:
            yield {"error": "an error was encountered while running the model"}
            return
        yield {**start, "message": {"role": "assistant", **piece}, "done": False}
    if fault == "no_end":
        return
    yield {
        **start,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "length" if cut_off else "stop",
        "total_duration": 1_000_000,
        "prompt_eval_count": habits.tokens_read(call.system + call.user, call.options),
        "eval_count": min(len(pieces), limit),
    }
