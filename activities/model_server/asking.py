"""One question to one model over the Ollama API: sent, read to its end, and answered or failed by name."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

import httpx
from anyio import CapacityLimiter
from opentelemetry import trace
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.failures import Attempt
from activities.heartbeats import heartbeats
from activities.model_server import context_window
from activities.model_server.answers import without_thinking
from activities.model_server.client import (
    NOT_OLLAMA,
    AddressBroken,
    AsyncClient,
    ChatResponse,
    ResponseError,
    full_name,
    model_client,
    named_by,
    proxy_for,
    refuses_think,
)
from activities.model_server.environment import without_key
from activities.model_server.question import Answer, Question
from messages.common import excerpt

ANSWER_BYTES = 16_384
"""The longest answer. Answers travel in histories, where 2 MiB is the end; none of ours needs a hundredth."""
THINKING_BYTES = 65_536
"""The longest thinking that is read before an answer."""
THINKING_TOKENS = 4_096
"""For a model that thinks although told not to, beside what its answer may take."""
MOST_TOKENS = 10_000_000
"""What a server counts beyond that is no count."""

TRACER = trace.get_tracer("living-image")
"""Its spans go nowhere but in a worker with traces."""

USUAL_PRIORITY = 3
LOOK_AGAIN_SECONDS = 0.2
"""How often a call of a trial looks for a slot that nobody else waits for."""


@dataclass
class _Habits:
    """What one model of one server turned out to be like, so that it is found out only once."""

    thinks: bool = False
    knows_think: bool = True
    # It never shrinks: asked for another one, Ollama loads the model anew.
    window: int = context_window.LEAST_WINDOW


@dataclass(frozen=True)
class _Try:
    """How a question is asked this time."""

    think: bool | None
    room: int
    window: int

    def most_tokens(self, question: Question) -> int:
        return question.answer_tokens + self.room


@dataclass
class _Reply:
    """What one try has brought so far.

    `ended` is Ollama's reason, empty while the stream goes on; "bytes" if there was more than is read.
    """

    text: str = ""
    thinking_bytes: int = 0
    ended: str = ""
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def said(self) -> str:
        return without_thinking(self.text)

    @property
    def ran_out(self) -> bool:
        return self.ended in ("length", "bytes")

    @property
    def is_whole(self) -> bool:
        return bool(self.ended) and not self.ran_out and len(self.said.encode()) <= ANSWER_BYTES

    def thought(self, question: Question) -> bool:
        """Whether the model thought, as far as can be seen: not every template writes the opening tag."""
        if self.thinking_bytes or self.said != self.text.strip():
            return True
        # Where JSON was asked for and only words came before the end, they were no answer.
        return question.form is not None and self.ran_out and bool(self.said) and "{" not in self.said


class Asking:
    """The connections, slots and models of a worker. `loading`: the embedded model, which is waited for."""

    def __init__(self, loading: asyncio.Future[None] | None = None) -> None:
        self._loading = loading
        self._clients: dict[str, AsyncClient] = {}
        self._habits: defaultdict[tuple[str, str], _Habits] = defaultdict(_Habits)
        self._slots = CapacityLimiter(1)

    async def ask(self, attempt: Attempt, question: Question, most_at_once: int) -> Answer:
        """The model's answer, complete and not empty, and what it took. Raises the typed failures."""
        async with heartbeats(attempt.beat):
            if self._loading is not None:
                attempt.state = "waiting for the model to be loaded"
                await asyncio.wait({self._loading})
            attempt.state = "waiting for a free model slot"
            begun = time.monotonic()
            self._slots.total_tokens = most_at_once
            while _is_behind_people() and self._slots.available_tokens < 1:  # noqa: ASYNC110 (it must not queue)
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
            async with self._slots:
                started = time.monotonic()
                asked = {"gen_ai.agent.name": attempt.persona, **question.attributes()}
                with TRACER.start_as_current_span(
                    f"chat {question.model}", kind=trace.SpanKind.CLIENT, attributes=asked
                ) as span:
                    answer = await self._send(attempt, question)
                    span.set_attributes(answer.attributes())
        answer.seconds, answer.waited = round(time.monotonic() - started, 3), started - begun
        return answer

    def client(self, host: str) -> AsyncClient:
        """The connections to a host. Raises AddressBroken."""
        if host not in self._clients:
            self._clients[host] = model_client(host)
        return self._clients[host]

    async def close(self) -> None:
        """Close the connections; the worker has stopped."""
        for client in self._clients.values():
            await client.close()  # type: ignore[no-untyped-call]  # The client's method has no types.
        self._clients.clear()

    async def _send(self, attempt: Attempt, question: Question) -> Answer:
        """Whatever the model answers in time, however often it is asked. Raises the failures of the wire."""
        attempt.state = "waiting for the model"
        try:
            async with asyncio.timeout(question.timeout_seconds):
                return await self._until_answered(attempt, question)
        except TimeoutError:
            raise attempt.failure(
                "ModelTooSlow",
                f"{question} was not done after {question.timeout_seconds:g} s; "
                "raise [models] call_timeout or use a smaller model",
            ) from None
        except AddressBroken as error:
            raise attempt.failure("ModelAddressBroken", str(error)) from None
        except httpx.TransportError as error:
            proxy = proxy_for(question.host)
            through = f" through the proxy that {proxy} names" if proxy else ""
            raise attempt.failure(
                "ModelUnreachable",
                f"the model server for {question} cannot be reached{through} "
                f"({excerpt(str(error) or repr(error))}); "
                f"start it or correct {' or '.join(filter(None, (named_by(question.host), proxy)))}",
            ) from None
        except ResponseError as error:
            raise _refusal(attempt, question, error) from None
        except NOT_OLLAMA as error:
            raise attempt.failure(
                "ModelServerError",
                f"what answers for {question} does not speak the Ollama API ({excerpt(str(error))}); "
                f"correct {named_by(question.host)}",
            ) from None

    async def _until_answered(self, attempt: Attempt, question: Question) -> Answer:
        """Ask, and ask again where the model turns out to need it: each reason comes at most once.

        Only the window may grow more than once, up to [models] context_tokens.
        """
        if (least := context_window.at_least_tokens(question.bytes)) > question.context_tokens:
            raise _too_long(attempt, question, least, question.context_tokens)
        habits = self._habits[question.host, question.model]
        answer = Answer()
        while True:
            this = _next_try(habits, question)
            try:
                reply = await self._stream(attempt, question, this)
            except ResponseError as error:
                if this.think is None or not refuses_think(error):
                    raise
                habits.knows_think = False
                continue
            answer.tokens_in += reply.tokens_in
            answer.tokens_out += reply.tokens_out
            if (
                context_window.was_filled(reply.tokens_in, this.window)
                and this.window < question.context_tokens
            ):
                habits.window = max(habits.window, 2 * this.window)
            elif reply.thought(question) and reply.ran_out and not this.room:
                habits.thinks = True
            else:
                await self._check_window(attempt, question, this, reply)
                _check(attempt, question, this, reply)
                answer.text = reply.said
                return answer

    async def _check_window(self, attempt: Attempt, question: Question, this: _Try, reply: _Reply) -> None:
        """Raise the typed failure of a prompt that was not read whole."""
        if context_window.was_filled(reply.tokens_in, this.window):
            raise _too_long(attempt, question, reply.tokens_in, this.window)
        if not context_window.seems_shortened(reply.tokens_in, question.bytes):
            return
        if context_window.was_shortened(reply.tokens_in, question.bytes, await self._window_there(question)):
            raise attempt.failure(
                "PromptTooLong",
                f"{question} read only {reply.tokens_in} tokens of a longer prompt, although a window of "
                f"{this.window} was asked for; shorten the task, or let a model with a longer context answer",
            )

    async def _window_there(self, question: Question) -> int | None:
        """The window that the model is loaded with, if the server tells: not every one does."""
        try:
            loaded = (await self.client(question.host).ps()).models
        except (ResponseError, *NOT_OLLAMA):
            return None
        windows = {full_name(model.model or ""): model.context_length for model in loaded}
        return windows.get(full_name(question.model))

    async def _stream(self, attempt: Attempt, question: Question, this: _Try) -> _Reply:
        reply = _Reply()
        if question.form is None:  # JSON is for programs
            attempt.said = lambda: reply.said
        size = 0
        chunks = await self.client(question.host).chat(
            model=question.model,
            messages=question.messages,
            stream=True,
            think=this.think,
            format=question.form.model_json_schema() if question.form else None,
            options={
                "temperature": question.temperature,
                "num_predict": this.most_tokens(question),
                "num_ctx": this.window,
            },
        )
        # Closed by hand: leaving the loop early must end the request at once, not at garbage collection.
        async with aclosing(cast(AsyncGenerator[ChatResponse, None], chunks)) as stream:
            async for chunk in stream:
                piece, thinking = chunk.message.content or "", chunk.message.thinking or ""
                reply.text += piece
                attempt.state = "thinking" if thinking else "generating"
                attempt.tokens += 1
                size += len(piece.encode())
                reply.thinking_bytes += len(thinking.encode())
                # A model that is known to think may do so in its text.
                most = ANSWER_BYTES + bool(this.room) * THINKING_BYTES
                if size > most or reply.thinking_bytes > THINKING_BYTES:
                    reply.ended = "bytes"
                    break
                if chunk.done:
                    reply.ended = chunk.done_reason or "stop"
                    reply.tokens_in = _count(chunk.prompt_eval_count)
                    reply.tokens_out = _count(chunk.eval_count)
        return reply


def _is_behind_people() -> bool:
    """Whether this is a call of a trial, which waits in no queue: whoever stands in one goes first."""
    return (
        activity.in_activity() and (activity.info().priority.priority_key or USUAL_PRIORITY) > USUAL_PRIORITY
    )


def _next_try(habits: _Habits, question: Question) -> _Try:
    room = THINKING_TOKENS if habits.thinks else 0
    window = context_window.window_for(question.bytes, question.answer_tokens + room)
    habits.window = max(habits.window, min(window, question.context_tokens))
    # A thinking model would spend all of max_answer_tokens before its first word of answer.
    think = False if habits.knows_think else None
    return _Try(think, room, min(habits.window, question.context_tokens))


def _count(tokens: int | None) -> int:
    return min(max(tokens or 0, 0), MOST_TOKENS)


# --- what went wrong ------------------------------------------------------------------------------


def _too_long(attempt: Attempt, question: Question, tokens: int, window: int) -> ApplicationError:
    return attempt.failure(
        "PromptTooLong",
        f"the prompt for {question} takes {tokens} tokens or more, and {window} is all that it may take; "
        "raise [models] context_tokens if the model and its memory allow it, or shorten the task",
    )


def _refusal(attempt: Attempt, question: Question, error: ResponseError) -> ApplicationError:
    """The failure for an error that the model server itself tells, before or in its answer."""
    said = excerpt(without_key(str(error.error)))
    # Ollama and llama.cpp say it in different words; these stand in both.
    if all(word in str(error.error).lower() for word in ("context", "exceed")):
        return attempt.failure(
            "PromptTooLong",
            f"the prompt is too long for {question} ({said}); "
            "shorten the task, or let a model with a longer context answer",
        )
    if error.status_code in (401, 403):
        return attempt.failure(
            "ModelRefused",
            f"the server refused to ask {question} without a key it knows ({said}); "
            f"give the worker the right OLLAMA_API_KEY or correct {named_by(question.host)}",
        )
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


def _check(attempt: Attempt, question: Question, this: _Try, reply: _Reply) -> None:
    """Raise the typed failure of an answer that is not whole, or says nothing."""
    if reply.thought(question) and not (reply.is_whole and reply.said):
        within = "" if reply.is_whole else f" within {this.most_tokens(question)} tokens"
        raise attempt.failure(
            "AnswerEmpty" if reply.is_whole else "AnswerCutOff",
            f"{question} thought although told not to, and came to no answer{within}; "
            "use a model that does not think",
        )
    if reply.ended == "length":
        raise attempt.failure(
            "AnswerCutOff",
            f"{question} was cut off at {this.most_tokens(question)} tokens; "
            + (
                "raise [models] max_answer_tokens"
                if question.may_be_raised
                else "use a model that keeps to JSON"
            )
            + " or ask for less in prompts.toml",
        )
    if not reply.is_whole:
        raise attempt.failure(
            "AnswerCutOff",
            f"{question} stopped in the middle of its answer, after {len(reply.text.encode())} bytes "
            f"(at most {ANSWER_BYTES} are read); see the server's log or ask for less in prompts.toml",
        )
    if not reply.said:
        raise attempt.failure(
            "AnswerEmpty", f"{question} answered nothing; if this persists, use another model"
        )
