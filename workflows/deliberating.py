"""How a loop comes to its proposal: the optimizer, the Creator, the trials and the judge, one after another.

The optimizer is asked again whenever there is more to know. It says what to try next, what to propose, or why
nothing is.
"""

import zlib
from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from messages.calls import Creating, PersonaCall
    from messages.loops import LoopStart, OptimizerAnswer, OptimizerRequest, Proposal
    from messages.trials import Candidate, Judged, Observation, Round
    from workflows.messaging import failure_text
    from workflows.orders import thinking
    from workflows.trials import Trials

OFF = "off"


class Deliberation:
    """Of one loop. `show` is called whenever there is something new to see in `trials`."""

    def __init__(self, start: LoopStart, show: Callable[[], None]) -> None:
        self.trials = Trials(start, show)
        # Places in the last round of those whose answers were compared.
        self._heard: set[int] = set()
        self._start = start
        self._request = OptimizerRequest(
            window=start.window,
            settings=start.settings,
            settings_digest=start.settings_digest,
            conditions=start.conditions,
            observations=start.observations,
            past=start.past,
            # Another for each loop, and the same whenever this one is computed again.
            seed=zlib.crc32(start.loop_id.encode()),
        )

    async def answer(self) -> OptimizerAnswer:
        """A proposal, or the reason why there is none. Raises ActivityError."""
        answer = await self._consider()
        if not answer.candidates:
            return answer
        self._request.created = await self._create(answer.top)
        self._request.may_try = await self.trials.find_tasks()
        self._request.may_end_early = workflow.patched("judged-where-proposed")
        while True:
            answer = await self._consider()
            if answer.candidates:
                await self._try(answer.candidates)
            elif answer.proposal is None or not await self._judge(answer.proposal):
                return answer

    def observed(self) -> list[Observation]:
        """What the trials came to, as rows of the optimizer's table."""
        return [
            row
            for number, round_ in enumerate(self.trials.rounds)
            for arm in range(len(round_.candidates) + 1)
            if (row := self._row(number, round_, arm)).dissonance
        ]

    # --- steps ---

    async def _try(self, candidates: list[Candidate]) -> None:
        await self.trials.run(candidates)
        if all(replay.outcome == "failed" for replay in self.trials.rounds[-1].argued):
            self.trials.faults.append("a round of trials in which every replay failed")
            self._request.may_try = False
            return
        self._request.rounds = self.trials.rounds
        if not self.trials.tasks_left():
            self._request.may_try = False
            if not self._request.may_end_early:  # a loop of before: its judge hears all of the last round
                self._request.judged = [*await self._hear_judge(candidates)]

    async def _consider(self) -> OptimizerAnswer:
        self._request.not_evaluated, self._request.trial_tokens = self.trials.faults, self.trials.tokens
        return await thinking.propose_amendment(self._request)

    async def _create(self, top: list[Candidate]) -> list[Candidate]:
        """The Creator's candidates; none where it is off or gives no usable answer."""
        settings = self._start.settings
        if settings.optimizer.creator == OFF:
            self.trials.faults.append("no candidates of a model's: [optimizer] creator is off")
            return []
        call = PersonaCall.under(settings, "ALFRED", "candidates", {})
        call.model = settings.optimizer.creator or call.model
        order = Creating(
            call=call,
            tunables=list(settings.tunables().values()),
            values=settings.tuned(),
            top=top,
            past=[str(past) for past in self._start.past],
        )
        try:
            created = await thinking.create_candidates(order, settings, "ALFRED thinks of other settings")
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            self.trials.faults.append(f"no candidates of a model's: {failure_text(error)}")
            return []
        self.trials.tokens += created.usage.tokens_in + created.usage.tokens_out
        return created.candidates

    async def _judge(self, proposal: Proposal) -> bool:
        """Have the answers of what would be proposed compared. False where nothing is left to compare."""
        if not self._request.may_end_early or not self._request.rounds:
            return False
        candidates = self._request.rounds[-1].candidates
        values = {change.key: change.new for change in proposal.changes}
        place = next((n for n, one in enumerate(candidates) if one.values == values), None)
        if place is None or place in self._heard:
            return False
        self._heard.add(place)
        self._request.may_try = False
        self._request.judged = self._request.judged or [None] * len(candidates)
        for judged in await self._hear_judge([candidates[place]]):
            self._request.judged[place] = judged
        return True

    async def _hear_judge(self, candidates: list[Candidate]) -> list[Judged]:
        """The answers of each, and of a single call, against the present ones; nothing where that failed."""
        if self._start.settings.optimizer.judge == OFF:
            self.trials.faults.append("nobody compared the answers: [optimizer] judge is off")
            return []
        try:
            judged = [await self.trials.judge(candidate) for candidate in candidates]
            if self._request.single is None:
                self._request.single = await self.trials.judge_single_answers()
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            self.trials.faults.append(f"nobody compared the answers: {failure_text(error)}")
            return []
        return judged

    def _row(self, number: int, round_: Round, arm: int) -> Observation:
        settings = self._start.settings
        if arm:
            settings = settings.with_changes(round_.candidates[arm - 1].values)
        return round_.observed(
            arm,
            digest=settings.digest(),
            conditions=self._start.conditions,
            batch=number,
            values=settings.tuned(),
            since=workflow.now(),
        )
