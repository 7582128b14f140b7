"""What the personas say: each activity is one call of a language model over the Ollama API."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar, cast

import httpx
from anyio import CapacityLimiter
from ollama import AsyncClient, ChatResponse, ResponseError
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.dissonance import DissonanceAnswer
from activities.failures import Attempt
from activities.goals import WORTH, GoalsAnswer, is_near, scores_answer
from activities.prompts import PROMPTS, BrokenPrompts, Prompts
from messages.calls import Judgement, PersonaCall, Plan, Speech, Usage
from messages.common import excerpt
from messages.goals import Goal, Imagined, Imagining, Scores, Scoring

DEFAULT_HOST = "http://127.0.0.1:11434"
"""Where the ollama client looks too when nobody says otherwise; named here for error messages."""
ANSWER_BYTES = 16_384
"""The longest answer. Answers travel in histories, where 2 MiB is the end; none of ours needs a hundredth."""
LABEL_TOKENS = 64
"""A label takes about ten tokens; the rest is room for a model that indents its JSON."""
SCORE_TOKENS = 32
"""For each goal to be scored, with as much room."""
CONNECT_SECONDS = 10
"""A host that is there answers a connection at once; answers themselves may take minutes."""
NO_PROXY = {"all://127.0.0.1": None, "all://localhost": None, "all://[::1]": None}
"""For httpx: a proxy that the environment names (HTTP_PROXY) is not asked for models on this machine."""

Form = TypeVar("Form", bound=BaseModel)


class ModelBackend(BaseModel):
    """How this worker reaches models. An embedded model speaks for every persona."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["ollama", "embedded"] = "ollama"
    host: str = ""
    model: str = ""

    @model_validator(mode="after")
    def _embedded_is_somewhere(self) -> Self:
        if self.kind == "embedded" and not (self.host and self.model):
            raise ValueError("an embedded model needs its host and its name")
        return self

    def target(self, call: PersonaCall) -> tuple[str, str]:
        """The host and the model that a call goes to."""
        return self.reach(call.host), self.model if self.kind == "embedded" else call.model

    def reach(self, host: str) -> str:
        """The model server to ask where [models] names this host."""
        if self.kind == "embedded":
            return self.host
        return host or os.environ.get("OLLAMA_HOST") or DEFAULT_HOST

    def describe(self, *models: str) -> str:
        """In a person's words, at most 120 characters: the backend, and the models that really answer."""
        if self.kind == "embedded":
            return excerpt(f"embedded {self.model} (small model, for trying out)")
        return excerpt(f"ollama {', '.join(dict.fromkeys(models))}")


class PlanAnswer(BaseModel):
    """What the model must answer when it plans."""

    plan: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    needs_research: bool


@dataclass(frozen=True)
class _Question:
    """One call, ready to be sent: where to, and what to ask."""

    host: str
    model: str
    messages: list[dict[str, str]]
    temperature: float
    token_limit: int
    form: type[BaseModel] | None

    def __str__(self) -> str:
        return f"{self.model} at {self.host}"


@dataclass
class _Answer:
    """What has come back so far. `ended` is Ollama's reason, empty while the stream goes on."""

    text: str = ""
    ended: str = ""
    tokens_in: int = 0
    tokens_out: int = 0


class Personas:
    """The persona activities of one worker process, which share its connections and its model slots.

    `loading`: the embedded model on its way, which calls wait for.
    """

    def __init__(
        self, backend: ModelBackend, prompts: Path = PROMPTS, loading: asyncio.Future[None] | None = None
    ) -> None:
        self._backend = backend
        self._loading = loading
        self._prompts = Prompts(prompts)
        self._clients: dict[str, AsyncClient] = {}
        self._slots = CapacityLimiter(1)

    @activity.defn
    async def plan(self, call: PersonaCall) -> Plan:
        """How to argue the task out, and whether research is needed first."""
        answer, usage = await self._ask_in_form(PlanAnswer, call, call.temperature, call.max_answer_tokens)
        return Plan(plan=answer.plan, needs_research=answer.needs_research, usage=usage)

    @activity.defn
    async def speak(self, call: PersonaCall) -> Speech:
        """Free text: research, thesis, antithesis or synthesis."""
        text, usage = await self._ask(Attempt(), call, call.temperature, call.max_answer_tokens)
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
        told = " ".join(message["content"] for message in self._prompts.messages(call.words, call.fields))
        new: list[Goal] = []
        for imagined in answer.goals:
            is_copy = imagined.goal.casefold() in told.casefold()
            if not is_copy and not is_near(imagined.goal, [*order.recent, *(goal.goal for goal in new)]):
                new.append(Goal(persona=call.persona, goal=imagined.goal, why=imagined.why))
        return Imagined(goals=new, near=len(answer.goals) - len(new), usage=usage)

    @activity.defn
    async def score_goals(self, order: Scoring) -> Scores:
        """What one persona thinks of the goals of others. At temperature 0, as every measurement."""
        form = scores_answer(len(order.goals))
        answer, usage = await self._ask_in_form(form, order.call, 0.0, SCORE_TOKENS * len(order.goals))
        return Scores(scores=[WORTH[label] for label in answer.scores], usage=usage)

    async def close(self) -> None:
        """Close the connections; the worker has stopped."""
        for client in self._clients.values():
            await client.close()  # type: ignore[no-untyped-call]  # The client's method has no types.
        self._clients.clear()

    async def _ask_in_form(
        self, form: type[Form], call: PersonaCall, temperature: float, token_limit: int
    ) -> tuple[Form, Usage]:
        attempt = Attempt()
        text, usage = await self._ask(attempt, call, temperature, token_limit, form)
        try:
            return form.model_validate_json(text), usage
        except ValidationError:
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
        """The model's answer, complete and not empty, and what it took. Raises the typed failures."""
        try:
            messages = self._prompts.messages(call.words, call.fields)
        except BrokenPrompts as error:
            raise attempt.failure("PromptsBroken", str(error)) from None
        host, model = self._backend.target(call)
        question = _Question(host, model, messages, temperature, token_limit, form)
        async with attempt.heartbeats():
            if self._loading is not None:
                attempt.state = "waiting for the model to be loaded"
                await asyncio.wait({self._loading})
            attempt.state = "waiting for a free model slot"
            self._slots.total_tokens = call.max_concurrent_calls
            async with self._slots:
                started = time.monotonic()
                answer = await self._send(attempt, question, call.timeout_seconds)
                seconds = time.monotonic() - started
        _check(attempt, question, answer)
        return answer.text.strip(), Usage(
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            seconds=round(seconds, 3),
            model_backend=self._backend.describe(model),
        )

    async def _send(self, attempt: Attempt, question: _Question, timeout_seconds: float) -> _Answer:
        """Whatever the model answers in time, even if only in part. Raises the failures of the wire."""
        attempt.state = "waiting for the model"
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._stream(attempt, question)
        except TimeoutError:
            raise attempt.failure(
                "ModelTooSlow",
                f"{question} was not done after {timeout_seconds:g} s; "
                "raise [models] call_timeout or use a smaller model",
            ) from None
        except httpx.TransportError as error:
            raise attempt.failure(
                "ModelUnreachable",
                f"the model server for {question} cannot be reached ({excerpt(str(error) or repr(error))}); "
                "start it or correct [models] host",
            ) from None
        except ResponseError as error:
            raise _refusal(attempt, question, error) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TypeError, AttributeError) as error:
            # The client leaves it to us to notice lines that are not what the Ollama API would say.
            raise attempt.failure(
                "ModelServerError",
                f"what answers for {question} does not speak the Ollama API ({excerpt(str(error))}); "
                "correct [models] host",
            ) from None

    async def _stream(self, attempt: Attempt, question: _Question) -> _Answer:
        answer = _Answer()
        size = 0
        chunks = await self._client(question.host).chat(
            model=question.model,
            messages=question.messages,
            stream=True,
            # A thinking model would spend all of max_answer_tokens before its first word of answer.
            think=False,
            format=question.form.model_json_schema() if question.form else None,
            options={"temperature": question.temperature, "num_predict": question.token_limit},
        )
        # Closed by hand: leaving the loop early must end the request at once, not at garbage collection.
        async with aclosing(cast(AsyncGenerator[ChatResponse, None], chunks)) as stream:
            async for chunk in stream:
                piece = chunk.message.content or ""
                answer.text += piece
                attempt.state = "generating"
                attempt.tokens += 1
                size += len(piece.encode())
                if size > ANSWER_BYTES:
                    break
                if chunk.done:
                    answer.ended = chunk.done_reason or "stop"
                    answer.tokens_in = chunk.prompt_eval_count or 0
                    answer.tokens_out = chunk.eval_count or 0
        return answer

    def _client(self, host: str) -> AsyncClient:
        if host not in self._clients:
            self._clients[host] = AsyncClient(
                host, timeout=httpx.Timeout(None, connect=CONNECT_SECONDS), mounts=NO_PROXY
            )
        return self._clients[host]


def _refusal(attempt: Attempt, question: _Question, error: ResponseError) -> ApplicationError:
    """The failure for an error that the model server itself tells, before or in its answer."""
    said = excerpt(str(error.error))
    if error.status_code == 404:
        return attempt.failure(
            "ModelNotPulled",
            f"there is no model {question} ({said}); run `ollama pull {question.model}` there "
            "or name another in [models]",
        )
    # 429 is "too busy now", which time heals, unlike every other 4xx.
    if 400 <= error.status_code < 500 and error.status_code != 429:
        return attempt.failure(
            "ModelRefused",
            f"the server refused to ask {question} ({said}); correct [models] in settings.toml",
        )
    return attempt.failure("ModelServerError", f"the server failed to run {question} ({said}); see its log")


def _check(attempt: Attempt, question: _Question, answer: _Answer) -> None:
    """Raise the typed failure of an answer that is not whole, or says nothing."""
    if answer.ended == "length":
        raise attempt.failure(
            "AnswerCutOff",
            f"{question} was cut off at {question.token_limit} tokens; "
            "raise [models] max_answer_tokens or ask for less in prompts.toml",
        )
    if not answer.ended:
        raise attempt.failure(
            "AnswerCutOff",
            f"{question} stopped in the middle of its answer, after {len(answer.text.encode())} bytes "
            f"(at most {ANSWER_BYTES} are read); see the server's log or ask for less in prompts.toml",
        )
    if not answer.text.strip():
        raise attempt.failure(
            "AnswerEmpty", f"{question} answered nothing; if this persists, use another model"
        )
