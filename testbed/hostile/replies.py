"""What a model server sends back: any bytes on the wire, and models that say anything."""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from hypothesis import strategies as st
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.failures import MOST_CHARACTERS, PAUSES
from activities.personas import Personas
from activities.prompts import PROMPTS
from configuration import Settings
from configuration.team import TEAM
from messages.calls import Creating, PersonaCall
from messages.goals import Imagining, Scoring
from testbed.fake_ollama import FakeOllama
from testbed.hostile.words import as_json, texts, values_with
from testbed.model_calls import Asks
from testbed.world import World


class _Ask(NamedTuple):
    """What an activity asks for, and with which entry of prompts.toml."""

    asks: Asks
    entry: str


ASKED = {
    "plan": _Ask("plan", "plan"),
    "speak": _Ask("text", "antithesis"),
    "judge_dissonance": _Ask("dissonance", "dissonance"),
    "imagine_goals": _Ask("goals", "goals"),
    "score_goals": _Ask("scores", "goal_scores"),
    "create_candidates": _Ask("candidates", "candidates"),
    "compare_answers": _Ask("compare", "compare"),
}
_FIELDS = dict.fromkeys(re.findall(r"{([a-z_]+)}", PROMPTS.read_text()), "x")
_KEYS = [
    *(
        "plan",
        "needs_research",
        "label",
        "goals",
        "goal",
        "why",
        "scores",
        "candidates",
        "changes",
        "key",
        "value",
    ),
    *(
        "better",
        "reason",
        "message",
        "content",
        "thinking",
        "done",
        "done_reason",
        "eval_count",
        "error",
        "model",
    ),
]
_values = values_with(_KEYS)
_FORMS = (
    '{"plan": %s, "needs_research": true}',
    '{"plan": "x", "needs_research": %s}',
    '{"label": %s}',
    '{"goals": [{"goal": %s, "why": %s}]}',
    '{"scores": [%s]}',
    '{"candidates": [{"changes": [{"key": "governance.quorum", "value": %s}], "why": "x"}]}',
    '{"better": %s, "reason": "approve it"}',
)


def _filled(form: str, value: Any) -> str:
    return form.replace("%s", as_json(value).decode())


words = st.one_of(
    texts,
    _values.map(lambda value: as_json(value).decode()),
    st.builds(_filled, st.sampled_from(_FORMS), _values),
    st.just(10_000_000).map(lambda size: "x" * size),
    st.builds(lambda form, text: f"<think>{text}</think>{form}", st.sampled_from(_FORMS), texts),
    st.just(16_000).map(lambda size: "{" * size),
)
"""What a model says."""


def _line(value: Any, ends: bool) -> bytes:
    body = {
        "model": "x",
        "message": {"role": "assistant", "content": value},
        "done": ends,
        "eval_count": value,
    }
    return as_json(body) + b"\n"


wire = st.one_of(
    st.builds(
        lambda said, ends: _line(said, False) + _line(said, ends), st.one_of(texts, _values), st.booleans()
    ),
    st.lists(_values.map(lambda value: as_json(value) + b"\n"), max_size=4).map(b"".join),
    st.binary(max_size=200),
    st.sampled_from([b"", b"data: {}\n\n", b"{}\n", b'{"error": "x"}\n']),
    st.sampled_from([(b"\n", 10_000), (b"[", 200_000), (b'{"message":', 20_000), (b"\0", 5_000_000)]).map(
        lambda part: part[0] * part[1]
    ),
    st.just(10_000_000).map(lambda size: b"x" * size),
)
"""What a model server sends instead of an answer."""
cases = st.tuples(st.sampled_from(sorted(ASKED)), st.one_of(words, words, wire))
silly_models = st.dictionaries(
    st.sampled_from(sorted({each.asks for each in ASKED.values()})), words, min_size=1
)


class Asked:
    """The personas of a worker, which ask a model server of whatever it sends."""

    def __init__(self, personas: Personas, ollama: FakeOllama, settings: Settings) -> None:
        self._personas, self._ollama, self._settings = personas, ollama, settings

    async def answer(self, case: tuple[str, str | bytes]) -> None:
        """A persona makes something of it that fits its message, or fails by name in a sentence."""
        name, said = case
        script = self._ollama.script
        script.wire, script.says = (said, {}) if isinstance(said, bytes) else (None, {ASKED[name].asks: said})
        environment = ActivityEnvironment()
        activity: Callable[..., Awaitable[Any]] = getattr(self._personas, name)
        try:
            result = await environment.run(activity, self._order(name))
        except ApplicationError as error:
            assert error.type in PAUSES, error.type
            assert len(error.message) <= MOST_CHARACTERS + 200
        else:
            assert len(result.model_dump_json().encode()) < 1_000_000
        finally:
            self._ollama.calls.clear()
            script.wire, script.says = None, {}

    def _order(self, name: str) -> Any:
        call = PersonaCall.under(self._settings, TEAM[0].name, ASKED[name].entry, _FIELDS)
        match name:
            case "imagine_goals":
                return Imagining(call=call, recent=[])
            case "score_goals":
                return Scoring(call=call, goals=["What is a goal?", "Another?"])
            case "create_candidates":
                tunables = list(self._settings.tunables().values())
                return Creating(call=call, tunables=tunables, values=self._settings.tuned(), top=[], past=[])
        return call


async def argue(world: World, says: dict[Asks, str]) -> None:
    """A task whose models say anything ends, and settings.toml stays what it was."""
    before = world.file.read_bytes()
    world.ollama.script.says = says
    try:
        receipt = await world.submit("What do they say?")
        with suppress(WorkflowFailureError):
            await world.result(receipt)
        await world.tasks_finished()
    finally:
        world.ollama.script.says = {}
        world.ollama.calls.clear()
    assert world.file.read_bytes() == before
