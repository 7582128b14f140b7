"""One task argued out: plan, research if the plan asks for it, thesis against antithesis, synthesis."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from configuration import Settings
    from messages.calls import Judgement, PersonaCall, Plan, Speech, Usage, team_of
    from messages.common import Outcome, Persona
    from messages.names import TASK_COMPLETED, TRIAL
    from messages.tasks import (
        DialogueResult,
        DialogueStart,
        Dissonance,
        PerformanceLog,
        TaskCompleted,
        Transcript,
        Turn,
    )
    from workflows.details.dialogue import dialogue_details
    from workflows.measuring import measure_task
    from workflows.messaging import failure_text, take, tell_image
    from workflows.orders import thinking
    from workflows.recalling import recall

Answer = TypeVar("Answer", Plan, Speech, Judgement)

# Without a usable answer the dissonance is unknown, and the argument goes on.
NO_ANSWER = ("AnswerNotJson", "AnswerEmpty", "AnswerCutOff")


@workflow.defn
class Dialogue:
    @workflow.init
    def __init__(self, start: Any = None) -> None:
        self._start = take(DialogueStart, start)
        self._transcript = Transcript(task_id=self._start.task_id, task=self._start.task)
        self._usage: list[Usage] = []
        self._conditions = ""

    @workflow.run
    async def run(self, start: Any = None) -> DialogueResult:
        try:
            await self._prepare()
            outcome = await self._argue()
            await self._synthesise()
        except BaseException as error:
            if not isinstance(error, ActivityError) and not is_cancelled_exception(error):
                raise
            self._transcript.failure = _failure_text(error)
            await self._tell_image(self._log("failed"))
            if typed := _typed_failure(error):
                raise typed from None
            raise
        log = self._log(outcome)
        await self._tell_image(log)
        return DialogueResult(
            task_id=self._start.task_id,
            outcome=outcome,
            synthesis=self._transcript.synthesis,
            dissonance=[turn.dissonance for turn in self._transcript.turns],
            log=log,
            model_backend=self._transcript.model_backend,
            revision=self._start.revision,
            recalled=self._transcript.recalled,
            recalled_by=self._transcript.recalled_by,
            models={usage.model: usage.model_digest for usage in self._usage if usage.model},
        )

    @workflow.query(description="What was said so far")
    def transcript(self) -> Transcript:
        return self._transcript

    # --- the argument ---

    async def _prepare(self) -> None:
        plan = await self._call(thinking.plan, "ALFRED", "plan", "ALFRED plans")
        self._transcript.plan = plan.plan
        self._conditions = plan.conditions
        if plan.needs_research:
            memory = await self._recall()
            research = await self._speak("BABS", "research", "BABS researches", plan=plan.plan, memory=memory)
            self._transcript.research = research

    async def _recall(self) -> str:
        """What BABS is told of earlier tasks."""
        settings = self._start.settings
        if not settings.memory.recall:
            return ""
        self._say("BABS remembers")
        start, most = self._start, settings.memory.recall
        recalled = start.recalled or await recall(settings, start.image_id, start, most)
        self._transcript.recalled, self._transcript.recalled_by = recalled.items[:most], recalled.means
        said = (f"Task: {item.task}\nConclusion: {item.synthesis}" for item in self._transcript.recalled)
        return "\n\n".join(said)

    async def _argue(self) -> Outcome:
        limits = self._start.settings.autopoiesis
        for number in range(1, limits.max_turns + 1):
            turn = await self._take_turn(number)
            self._transcript.turns.append(turn)
            self._transcript.thesis = self._transcript.antithesis = ""
            if turn.dissonance.value is not None and turn.dissonance.value <= limits.convergence_threshold:
                return "converged"
        return "max_turns"

    async def _take_turn(self, number: int) -> Turn:
        background = {"plan": self._transcript.plan, "research": self._transcript.research}
        if self._transcript.turns:
            last = self._transcript.turns[-1]
            words, said = "thesis_reply", {"thesis": last.thesis, "antithesis": last.antithesis}
        else:
            words, said = "thesis_first", {}
        thesis = await self._speak("BRICK", words, f"Turn {number}: BRICK's thesis", **background, **said)
        self._transcript.thesis = thesis
        antithesis = await self._speak(
            "ROBIN", "antithesis", f"Turn {number}: ROBIN's antithesis", thesis=thesis
        )
        self._transcript.antithesis = antithesis
        dissonance = await self._judge(number, thesis, antithesis)
        return Turn(turn=number, thesis=thesis, antithesis=antithesis, dissonance=dissonance)

    async def _judge(self, number: int, thesis: str, antithesis: str) -> Dissonance:
        summary = f"Turn {number}: how far apart are they?"
        said = {"thesis": thesis, "antithesis": antithesis}
        try:
            judgement = await self._call(thinking.judge_dissonance, "ROBIN", "dissonance", summary, **said)
        except ActivityError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError) and cause.type in NO_ANSWER:
                return Dissonance(missing=f"{cause.type}: {cause.message}")
            raise
        return judgement.dissonance

    async def _synthesise(self) -> None:
        last = self._transcript.turns[-1]
        self._transcript.synthesis = await self._speak(
            "ALFRED",
            "synthesis",
            "ALFRED's synthesis",
            plan=self._transcript.plan,
            thesis=last.thesis,
            antithesis=last.antithesis,
            agreement=last.dissonance.label or "unknown",
        )

    # --- persona calls ---

    async def _speak(self, persona: Persona, words: str, summary: str, **said: str) -> str:
        return (await self._call(thinking.speak, persona, words, summary, **said)).text

    async def _call(
        self,
        order: Callable[[PersonaCall, Settings, str], Awaitable[Answer]],
        persona: Persona,
        words: str,
        summary: str,
        **said: str,
    ) -> Answer:
        self._say(summary)
        settings = self._start.settings
        call = PersonaCall.under(settings, persona, words, {"task": self._start.task, **said})
        if not self._usage:
            call.team = team_of(settings)
        answer = await order(call, settings, summary)
        self._usage.append(answer.usage)
        self._transcript.model_backend = answer.usage.model_backend
        return answer

    def _say(self, speaking: str) -> None:
        self._transcript.speaking = speaking
        workflow.set_current_details(dialogue_details(self._transcript))

    # --- the end ---

    def _log(self, outcome: Outcome) -> PerformanceLog:
        turns = self._transcript.turns
        return PerformanceLog(
            task_id=self._start.task_id,
            task_type=self._start.task_type,
            final_dissonance=turns[-1].dissonance.value if turns else None,
            turn_count=len(turns),
            outcome=outcome,
            settings_digest=self._start.settings_digest,
            active_heuristics=self._start.settings.heuristics(),
            tokens_in=sum(usage.tokens_in for usage in self._usage),
            tokens_out=sum(usage.tokens_out for usage in self._usage),
            seconds=round((workflow.now() - workflow.info().start_time).total_seconds(), 3),
            origin=self._start.origin,
            finished_at=workflow.now(),
            conditions=self._conditions,
            arm=self._start.arm,
        )

    async def _tell_image(self, log: PerformanceLog) -> None:
        self._say("")
        measure_task(self._start.image_id, log)
        if self._start.origin == TRIAL:
            return
        message = TaskCompleted(
            task_id=log.task_id,
            log=log,
            model_backend=self._transcript.model_backend,
            failure=self._transcript.failure,
        )
        await tell_image(self._start.image_id, TASK_COMPLETED, message)


def _typed_failure(error: BaseException) -> ApplicationError | None:
    """A persona call's own failure, so that the workflow fails with its type and words."""
    cause = error.cause if isinstance(error, ActivityError) else None
    if not isinstance(cause, ApplicationError):
        return None
    return ApplicationError(cause.message, type=cause.type, non_retryable=True)


def _failure_text(error: BaseException) -> str:
    if is_cancelled_exception(error):
        return "Cancelled: somebody cancelled this task"
    return failure_text(error) if isinstance(error, ActivityError) else str(error)
