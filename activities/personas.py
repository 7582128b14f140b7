"""What the personas say: each activity is one question to one language model, see model_server/asking.py."""

import asyncio
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, StringConstraints
from temporalio import activity

from activities.conditions import Conditions
from activities.creator import candidates_answer, told
from activities.dissonance import DissonanceAnswer
from activities.failures import Attempt
from activities.goals import WORTH, GoalsAnswer, is_near, scores_answer
from activities.judge import ComparedAnswer
from activities.measuring import measure_call
from activities.model_server.answers import NotInForm, read_form
from activities.model_server.asking import Asking
from activities.model_server.backend import ModelBackend
from activities.model_server.question import Question
from activities.prompts import PROMPTS, BrokenPrompts, Prompts
from messages.calls import Compared, Created, Creating, Judgement, PersonaCall, Plan, Speech, Usage
from messages.common import excerpt
from messages.goals import Goal, Imagined, Imagining, Scores, Scoring

LABEL_TOKENS = 64
"""A label takes about ten tokens; the rest is room for a model that indents its JSON."""
SCORE_TOKENS = 32
"""For each goal to be scored, with as much room."""
CANDIDATES_TOKENS = 600
"""Three candidates of two keys with a sentence each take about half of it."""
COMPARED_TOKENS = 200
"""Two sentences and a label."""

Form = TypeVar("Form", bound=BaseModel)


class PlanAnswer(BaseModel):
    """What the model must answer when it plans."""

    plan: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    needs_research: bool


class Personas:
    """The persona activities of one worker process, which share its connections and its model slots.

    `loading`: the embedded model on its way, which calls wait for. `version`: that of this program.
    """

    def __init__(
        self,
        backend: ModelBackend,
        prompts: Path = PROMPTS,
        loading: asyncio.Future[None] | None = None,
        version: str = "",
    ) -> None:
        self._backend = backend
        self._prompts = Prompts(prompts)
        self._asking = Asking(loading)
        self._loading = loading
        self._conditions = Conditions(self._prompts, version, self._asking.client)

    @activity.defn
    async def plan(self, call: PersonaCall) -> Plan:
        """How to argue the task out, whether research is needed first, and under which conditions it is."""
        if call.team and (self._loading is None or self._loading.done()):
            self._conditions.look(self._backend.target(call)[0])  # told by the time the model has answered
        answer, usage = await self._ask_in_form(PlanAnswer, call, call.temperature, call.max_answer_tokens)
        return Plan(
            plan=answer.plan,
            needs_research=answer.needs_research,
            usage=usage,
            conditions=await self._found(call) if call.team else "",
        )

    @activity.defn
    async def speak(self, call: PersonaCall) -> Speech:
        """Free text: research, thesis, antithesis or synthesis."""
        text, usage = await self._ask(Attempt(call.persona), call, call.temperature, call.max_answer_tokens)
        return Speech(text=text, usage=usage)

    @activity.defn
    async def judge_dissonance(self, call: PersonaCall) -> Judgement:
        """How far thesis and antithesis are apart. At temperature 0: a measurement, not an invention."""
        answer, usage = await self._ask_in_form(DissonanceAnswer, call, 0.0, LABEL_TOKENS)
        return Judgement(dissonance=answer.dissonance(), usage=usage)

    @activity.defn
    async def imagine_goals(self, order: Imagining) -> Imagined:
        """Goals that one persona would like the team to take on, none near to a recent one or to another.

        One that stands word for word in what the model was told, in an example say, is no goal of its own.
        """
        call = order.call
        answer, usage = await self._ask_in_form(GoalsAnswer, call, call.temperature, call.max_answer_tokens)
        words = " ".join(message["content"] for message in self._prompts.messages(call.words, call.fields))
        new: list[Goal] = []
        for imagined in answer.goals:
            is_copy = imagined.goal.casefold() in words.casefold()
            if not is_copy and not is_near(imagined.goal, [*order.recent, *(goal.goal for goal in new)]):
                new.append(Goal(persona=call.persona, goal=imagined.goal, why=imagined.why))
        return Imagined(goals=new, near=len(answer.goals) - len(new), usage=usage)

    @activity.defn
    async def score_goals(self, order: Scoring) -> Scores:
        """What one persona thinks of the goals of others. At temperature 0, as every measurement."""
        form = scores_answer(len(order.goals))
        answer, usage = await self._ask_in_form(form, order.call, 0.0, SCORE_TOKENS * len(order.goals))
        return Scores(scores=[WORTH[label] for label in answer.scores], usage=usage)

    @activity.defn
    async def create_candidates(self, order: Creating) -> Created:
        """Other settings that a model would try."""
        call = order.call.model_copy(update={"fields": told(order)})
        form = candidates_answer(order.tunables)
        answer, usage = await self._ask_in_form(form, call, call.temperature, CANDIDATES_TOKENS)
        return Created(candidates=answer.named(), usage=usage)

    @activity.defn
    async def compare_answers(self, call: PersonaCall) -> Compared:
        """Which of two answers to a task is better. At temperature 0, as every measurement."""
        answer, usage = await self._ask_in_form(ComparedAnswer, call, 0.0, COMPARED_TOKENS)
        return Compared(better=answer.better, usage=usage)

    async def answer(self, attempt: Attempt, call: PersonaCall, messages: list[dict[str, str]]) -> Speech:
        """What a persona's model says to messages as they are, in its turn; no activity."""
        text, usage = await self._put(
            attempt, call, messages, temperature=call.temperature, token_limit=call.max_answer_tokens
        )
        return Speech(text=text, usage=usage)

    async def close(self) -> None:
        """Close the connections; the worker has stopped."""
        await self._conditions.close()
        await self._asking.close()

    async def _found(self, call: PersonaCall) -> str:
        """The conditions of the argument that a call begins, the same whichever persona it asks."""
        targets = [self._backend.target(call.model_copy(update={"model": model})) for model in call.team]
        return await self._conditions.under(targets[0][0], {model for _, model in targets})

    async def _ask_in_form(
        self, form: type[Form], call: PersonaCall, temperature: float, token_limit: int
    ) -> tuple[Form, Usage]:
        attempt = Attempt(call.persona)
        text, usage = await self._ask(attempt, call, temperature, token_limit, form)
        try:
            return read_form(form, text), usage
        except NotInForm:
            host, model = self._backend.target(call)
            raise attempt.failure(
                "AnswerNotJson",
                f'{model} at {host} did not keep to the form asked for but said "{excerpt(text)}"; '
                "if this persists, use a model that follows JSON schemas",
            ) from None

    async def _ask(
        self,
        attempt: Attempt,
        call: PersonaCall,
        temperature: float,
        token_limit: int,
        form: type[BaseModel] | None = None,
    ) -> tuple[str, Usage]:
        """The answer to the words that a call names, see `_put`."""
        try:
            messages = self._prompts.messages(call.words, call.fields)
        except BrokenPrompts as error:
            raise attempt.failure("PromptsBroken", str(error)) from None
        return await self._put(
            attempt, call, messages, temperature=temperature, token_limit=token_limit, form=form
        )

    async def _put(
        self,
        attempt: Attempt,
        call: PersonaCall,
        messages: list[dict[str, str]],
        *,
        temperature: float,
        token_limit: int,
        form: type[BaseModel] | None = None,
    ) -> tuple[str, Usage]:
        """The model's answer, complete and not empty, and what it took. Raises the typed failures."""
        host, model = self._backend.target(call)
        question = Question(
            host=host,
            model=model,
            messages=messages,
            temperature=temperature,
            answer_tokens=token_limit,
            context_tokens=call.context_tokens,
            timeout_seconds=call.timeout_seconds,
            form=form,
            may_be_raised=token_limit == call.max_answer_tokens,
        )
        answer = await self._asking.ask(attempt, question, call.max_concurrent_calls)
        usage = Usage(
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            seconds=answer.seconds,
            model_backend=self._backend.describe(model),
            model=model,
            model_digest=self._conditions.digest(host, model),
        )
        measure_call(call.persona, usage, answer.waited)
        return answer.text, usage
