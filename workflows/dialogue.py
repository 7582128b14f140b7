"""One task argued out: plan, research if the plan asks for it, thesis against antithesis, synthesis."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.exceptions import TimeoutError as ActivityTimeout

with workflow.unsafe.imports_passed_through():
    from activities.memory.recall import Memory
    from activities.personas import Personas
    from messages.calls import Judgement, Plan, Speech, Usage
    from messages.common import Outcome, Persona, excerpt
    from messages.memory import Recalled, RecallRequest
    from messages.names import TASK_COMPLETED
    from messages.tasks import (
        DialogueResult,
        DialogueStart,
        Dissonance,
        PerformanceLog,
        TaskCompleted,
        Transcript,
        Turn,
    )
    from workflows.asking import HEARTBEAT_TIMEOUT, RETRY, patience, persona_call
    from workflows.details.dialogue import dialogue_details
    from workflows.messaging import failure_text, take

# A recall bounds itself by a little less, see activities/memory/recall.py; nobody waits longer for a memory.
RECALL_WITHIN = timedelta(seconds=1)
ONCE = RetryPolicy(maximum_attempts=1)
# What a recall was given before it was bounded.
SLOW_RECALL_WITHIN = timedelta(seconds=90)
SLOW_RECALL_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=3)
# Without a usable answer the dissonance is unknown, and the argument goes on.
NO_ANSWER = ("AnswerNotJson", "AnswerEmpty", "AnswerCutOff")


@workflow.defn
class Dialogue:
    @workflow.init
    def __init__(self, start: Any = None) -> None:
        self._start = take(DialogueStart, start)
        self._transcript = Transcript(task_id=self._start.task_id, task=self._start.task)
        self._usage: list[Usage] = []

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
        )

    @workflow.query(description="What was said so far")
    def transcript(self) -> Transcript:
        return self._transcript

    # --- the argument ---

    async def _prepare(self) -> None:
        plan: Plan = await self._call(Personas.plan, "ALFRED", "plan", "ALFRED plans", task=self._start.task)
        self._transcript.plan = plan.plan
        if plan.needs_research:
            memory = await self._recall()
            research = await self._speak("BABS", "research", "BABS researches", plan=plan.plan, memory=memory)
            self._transcript.research = research

    async def _recall(self) -> str:
        """What BABS is told of earlier tasks. Memory helps where it can; no task fails for want of it."""
        settings = self._start.settings
        if not settings.memory.recall:
            return ""
        if not (quickly := workflow.patched("recall-within-a-second")) and not workflow.patched("memory"):
            return ""
        self._say("BABS remembers")
        wanted = RecallRequest(
            image_id=self._start.image_id,
            task_id=self._start.task_id,
            asked_at=self._start.submitted_at,
            text=self._start.task,
            host=settings.models.host,
            model=settings.models.embedding,
            most=settings.memory.recall,
        )
        try:
            recalled = await (_recall_quickly(wanted) if quickly else _recall_slowly(wanted))
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            recalled = Recalled(means=f"nothing: {_no_recall(error)}")
        self._transcript.recalled, self._transcript.recalled_by = recalled.items, recalled.means
        return "\n\n".join(f"Task: {item.task}\nConclusion: {item.synthesis}" for item in recalled.items)

    async def _argue(self) -> Outcome:
        limits = self._start.settings.autopoiesis
        for number in range(1, limits.max_turns + 1):
            turn = await self._take_turn(number)
            self._transcript.turns.append(turn)
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
        antithesis = await self._speak(
            "ROBIN", "antithesis", f"Turn {number}: ROBIN's antithesis", thesis=thesis
        )
        dissonance = await self._judge(number, thesis, antithesis)
        return Turn(turn=number, thesis=thesis, antithesis=antithesis, dissonance=dissonance)

    async def _judge(self, number: int, thesis: str, antithesis: str) -> Dissonance:
        summary = f"Turn {number}: how far apart are they?"
        said = {"task": self._start.task, "thesis": thesis, "antithesis": antithesis}
        try:
            judgement: Judgement = await self._call(
                Personas.judge_dissonance, "ROBIN", "dissonance", summary, **said
            )
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
        speech: Speech = await self._call(
            Personas.speak, persona, words, summary, task=self._start.task, **said
        )
        return speech.text

    async def _call(self, activity: Any, persona: Persona, words: str, summary: str, **fields: str) -> Any:
        self._say(summary)
        settings = self._start.settings
        answer = await workflow.execute_activity_method(
            activity,
            persona_call(settings, persona, words, fields),
            start_to_close_timeout=patience(settings),
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRY,
            summary=summary,
        )
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
        )

    async def _tell_image(self, log: PerformanceLog) -> None:
        self._say("")
        message = TaskCompleted(
            task_id=log.task_id,
            log=log,
            model_backend=self._transcript.model_backend,
            failure=self._transcript.failure,
        )
        image = workflow.get_external_workflow_handle(self._start.image_id)
        try:
            await image.signal(TASK_COMPLETED, message)
        except ApplicationError as error:
            # The image is gone (terminated, say): the result still stands in this workflow.
            workflow.logger.warning("The image %s took no result: %s", self._start.image_id, error)


async def _recall_quickly(wanted: RecallRequest) -> Recalled:
    # Local: it only reads, so after a crash it may run again, and the server need not be told of each step.
    return await workflow.execute_local_activity_method(
        Memory.recall,
        wanted,
        schedule_to_close_timeout=RECALL_WITHIN,
        retry_policy=ONCE,
        summary="BABS remembers",
    )


async def _recall_slowly(wanted: RecallRequest) -> Recalled:
    """As dialogues did that began before recalls were bounded."""
    return await workflow.execute_activity_method(
        Memory.recall,
        wanted,
        start_to_close_timeout=SLOW_RECALL_WITHIN,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=SLOW_RECALL_RETRY,
        summary="BABS remembers",
    )


def _no_recall(error: ActivityError) -> str:
    if isinstance(error.cause, ActivityTimeout):
        return "the memory took longer than a second"
    return excerpt(_failure_text(error))


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
