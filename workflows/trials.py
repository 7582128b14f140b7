"""Trials of one loop: recorded tasks argued once more, under candidates and under the present settings.

The same tasks in both arms, with the same recall, so that what the tasks make of the difference cancels out.
Where a task was argued under the present settings when a person asked it, the record of that is their arm.
Each replay is a dialogue of its own, behind every task of a person: it enters neither window nor memory.
"""

import asyncio
from collections.abc import Callable, Sequence

from temporalio import workflow
from temporalio.common import Priority, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ChildWorkflowError

with workflow.unsafe.imports_passed_through():
    from configuration import Settings
    from messages.calls import PersonaCall
    from messages.common import part
    from messages.loops import LoopStart
    from messages.memory import Recalled
    from messages.names import TRIAL, trial_workflow_id
    from messages.tasks import DialogueResult, DialogueStart, PerformanceLog, RecordedTask, Task
    from messages.trials import Better, Candidate, Judged, RecordedTasks, Replay, Round
    from workflows.details.text import summary
    from workflows.dialogue import Dialogue
    from workflows.messaging import failure_text
    from workflows.orders import thinking
    from workflows.recalling import recall

BEHIND_PEOPLE = Priority(priority_key=5)
"""The lowest that a server knows without being told of more; tasks of people have 3."""


class Trials:
    """What one loop tries. `held` keeps further replays back; `tokens` is what all of it has taken.

    `faults`: what could not be done, in words for the person who decides.
    """

    def __init__(self, start: LoopStart, show: Callable[[], None]) -> None:
        self.held = start.held
        self.rounds: list[Round] = []
        self.tokens = 0
        self.faults: list[str] = []
        self._start = start
        self._show = show
        self._tasks: list[RecordedTask] = []
        self._by_record = False
        self._mixtures_may_fail = False
        self._first_tasks = 0
        # By the digest of the settings and the task.
        self._answers: dict[tuple[str, str], str] = {}

    async def find_tasks(self) -> bool:
        """Choose the tasks to replay, and read them. False where there are none."""
        options = self._start.settings.optimizer
        self._by_record = workflow.patched("present-arm-by-record")
        # A loop of before tried more of the tasks first.
        is_screened = workflow.patched("first-round-screens")
        self._mixtures_may_fail = workflow.patched("mixtures-may-fail")
        self._first_tasks = (
            options.first_round_tasks if is_screened else max(1, round(0.4 * options.trial_tasks))
        )
        logs = (log for log in self._start.window if log.origin != "external")
        argued = [log for log in logs if log.final_dissonance is not None]
        if not options.trial_tasks or not options.trial_budget_tokens:
            self.faults.append("no trials: [optimizer] allows none")
            return False
        if argued:
            chosen = workflow.random().sample(argued, len(argued))
            chosen.sort(key=lambda log: not self._is_of_now(log))
            ids = [log.task_id for log in chosen[: options.trial_tasks]]
            wanted = RecordedTasks(image_id=self._start.image_id, task_ids=ids)
            try:
                self._tasks = await thinking.find_recorded(wanted)
            except ActivityError as error:
                self.faults.append(f"no trials: the recorded tasks cannot be read: {failure_text(error)}")
                return False
        if not self._tasks:
            self.faults.append("no trials: no task of the window is on record")
            return False
        return True

    def tasks_left(self) -> bool:
        """Whether another round would have tasks, and tokens to spend."""
        return len(self.rounds) < 2 and bool(self._tasks_of(len(self.rounds))) and not self._is_spent()

    async def run(self, candidates: list[Candidate]) -> None:
        """One round: its tasks under each candidate and under the present settings."""
        number = len(self.rounds)
        self.rounds.append(Round(candidates=candidates))
        self._show()
        present = self._start.settings
        arms = [present, *(present.with_changes(candidate.values) for candidate in candidates)]
        waiting = [(n, task) for n, task in enumerate(self._tasks_of(number), 1)]
        at_once = max(1, present.system.max_concurrent_tasks - 1)
        free = asyncio.Semaphore(at_once)

        async def in_turn(arm: int, n: int, task: Task, recalled: Recalled) -> bool:
            """False where the record cannot stand beside what it came to: it failed, or all was another."""
            async with free:
                await workflow.wait_condition(lambda: not self.held)
                if self._is_spent():
                    return True
                workflow_id = trial_workflow_id(self._start.loop_id, number + 1, arm, n)
                replay, log = await self._replay(arm, workflow_id, self._again(task, arms[arm], recalled))
                self.rounds[number].replays.append(replay)
                self._show()
                if log is None:
                    return arm > 0 and self._may_fail(candidates[arm - 1])
                return log.conditions == self._start.conditions

        # All arms of a task, then the next task: where the tokens run out, what was tried has its other half.
        for n, task in waiting:
            recalled = await self._recall_once(task, arms)
            recorded = None if self._is_spent() else self._on_record(task, recalled)
            if recorded:
                self.rounds[number].replays.append(recorded)
            others = range(1 if recorded else 0, len(arms))
            fair = await asyncio.gather(*(in_turn(arm, n, task, recalled) for arm in others))
            if recorded and not all(fair):
                self.rounds[number].replays.remove(recorded)
                await in_turn(0, n, task, recalled)
        if self._is_spent():
            self.faults.append(
                f"the trials ended early, at {self.tokens} of {present.optimizer.trial_budget_tokens} tokens "
                "([optimizer] trial_budget_tokens)"
            )

    async def judge(self, candidate: Candidate) -> Judged:
        """All answers of a candidate against the present ones."""
        present = self._start.settings
        tried = present.with_changes(candidate.values)
        judged = Judged()
        for task in self._tasks:
            ours, other = (self._answers.get((side.digest(), task.task_id)) for side in (tried, present))
            if ours is not None and other is not None:
                await self.compare(judged, task, ours, other)
        return judged

    async def judge_single_answers(self) -> Judged:
        """The team's present answers in the last round against those of one call each."""
        judged = Judged()
        settings = self._start.settings
        for task in self._tasks_of(len(self.rounds) - 1):
            argued = self._answers.get((settings.digest(), task.task_id))
            if argued is None:
                continue
            call = PersonaCall.under(settings, "ALFRED", "single", {"task": task.task})
            said = await thinking.speak(call, settings, "One answer without an argument")
            self.tokens += said.usage.tokens_in + said.usage.tokens_out
            await self.compare(judged, task, argued, said.text)
        return judged

    # --- steps ---

    def _tasks_of(self, number: int) -> Sequence[RecordedTask]:
        return self._tasks[self._first_tasks :] if number else self._tasks[: self._first_tasks]

    def _is_spent(self) -> bool:
        return self.tokens >= self._start.settings.optimizer.trial_budget_tokens

    def _may_fail(self, candidate: Candidate) -> bool:
        """Whether the present settings need no new chance to fail: nobody is asked for this one."""
        return self._mixtures_may_fail and candidate.source == "screening"

    def _is_of_now(self, log: PerformanceLog) -> bool:
        """Whether it was argued as it would be now."""
        now = (self._start.settings_digest, self._start.conditions)
        return (log.settings_digest, log.conditions) == now

    async def _recall_once(self, task: RecordedTask, arms: list[Settings]) -> Recalled:
        """What all arms are handed of, as it was then: enough for the one that takes the most."""
        most = max(settings.memory.recall for settings in arms)
        if not most:
            return Recalled(means="nothing: [memory] recall = 0")
        if (then := self._result_of_now(task)) and then.recalled_by and most <= arms[0].memory.recall:
            return Recalled(items=then.recalled, means=then.recalled_by)
        return await recall(self._start.settings, self._start.image_id, task, most)

    def _result_of_now(self, task: RecordedTask) -> DialogueResult | None:
        """What it came to when a person asked, where that is what it would be argued under now."""
        usable = self._by_record and task.result is not None and self._is_of_now(task.result.log)
        return task.result if usable else None

    def _on_record(self, task: RecordedTask, recalled: Recalled) -> Replay | None:
        """The present arm of a task by its record; None where it has to be argued again."""
        result = self._result_of_now(task)
        if result is None or result.log.final_dissonance is None:
            return None
        if result.recalled_by and result.recalled != recalled.items[: self._start.settings.memory.recall]:
            return None
        replay = Replay(
            task_id=task.task_id, arm=0, outcome="failed", task_type=task.task_type, recorded=True
        )
        self._note(replay, self._start.settings.digest(), result)
        return replay

    def _again(self, task: Task, settings: Settings, recalled: Recalled) -> DialogueStart:
        return DialogueStart(
            **part(Task, task) | {"origin": TRIAL, "trace": ""},
            image_id=self._start.image_id,
            settings=settings,
            settings_digest=settings.digest(),
            revision=0,
            recalled=recalled,
        )

    async def _replay(
        self, arm: int, workflow_id: str, start: DialogueStart
    ) -> tuple[Replay, PerformanceLog | None]:
        replay = Replay(task_id=start.task_id, arm=arm, outcome="failed", task_type=start.task_type)
        under = f"candidate {arm}" if arm else "the present settings"
        try:
            result: DialogueResult = await workflow.execute_child_workflow(
                Dialogue.run,
                start,
                id=workflow_id,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                priority=BEHIND_PEOPLE,
                static_summary=summary(f"Trial under {under}: {start.task}"),
            )
        except ChildWorkflowError:
            # What somebody cancels or terminates has failed; that all trials end is another thing.
            if (this := asyncio.current_task()) and this.cancelling():
                raise
            return replay, None
        self._note(replay, start.settings_digest, result)
        self.tokens += replay.tokens
        return replay, result.log

    def _note(self, replay: Replay, settings_digest: str, result: DialogueResult) -> None:
        log = result.log
        replay.outcome, replay.dissonance = log.outcome, log.final_dissonance
        replay.tokens, replay.seconds = log.tokens_in + log.tokens_out, log.seconds
        self._answers[settings_digest, replay.task_id] = result.synthesis

    async def compare(self, judged: Judged, task: Task, ours: str, other: str) -> None:
        if ours == other:
            judged.add("same", "same", (len(ours), len(other)))
            return
        in_order = await self._which_is_better(judged, task, ours, other)
        swapped = await self._which_is_better(judged, task, other, ours)
        judged.add(in_order, swapped, (len(ours), len(other)))

    async def _which_is_better(self, judged: Judged, task: Task, first: str, second: str) -> Better:
        settings = self._start.settings
        call = PersonaCall.under(
            settings, "ROBIN", "compare", {"task": task.task, "first": first, "second": second}
        )
        if settings.optimizer.judge:
            call.model = settings.optimizer.judge
        await workflow.wait_condition(lambda: not self.held)
        compared = await thinking.compare_answers(call, settings, "Which of two answers is better?")
        self.tokens += compared.usage.tokens_in + compared.usage.tokens_out
        judged.model = compared.usage.model_backend
        return compared.better
