"""The personas look for a goal of their own: each imagines some and scores the others'; the best is taken."""

import itertools
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from messages.calls import PersonaCall
    from messages.common import Persona
    from messages.goals import Goal, Imagining, InquiryConcluded, InquiryStart, Scoring
    from messages.names import INQUIRY_CONCLUDED
    from workflows.details.inquiry import inquiry_details
    from workflows.messaging import failure_text, take, tell_image
    from workflows.orders import thinking


@workflow.defn
class Inquiry:
    @workflow.init
    def __init__(self, start: Any = None) -> None:
        self._start = take(InquiryStart, start)
        self._goals: list[Goal] = []
        self._faults: list[str] = []
        self._near = 0

    @workflow.run
    async def run(self, start: Any = None) -> InquiryConcluded:
        try:
            for persona in self._start.personas:
                await self._imagine(persona)
            if len(self._goals) > 1:
                await self._score()
            conclusion = self._conclusion()
            self._show(conclusion)
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            conclusion = self._no_goal("somebody cancelled this inquiry")
            await tell_image(self._start.image_id, INQUIRY_CONCLUDED, conclusion)
            raise
        await tell_image(self._start.image_id, INQUIRY_CONCLUDED, conclusion)
        return conclusion

    async def _imagine(self, persona: Persona) -> None:
        """What this persona imagines; one that gives no usable answer is left out."""
        recent = [*self._start.recent, *(goal.goal for goal in self._goals)]
        fields = {
            "who": persona,
            "reason": self._start.reason,
            "recent": "\n".join(f"- {task}" for task in self._start.recent) or "nothing yet",
        }
        settings = self._start.settings
        order = Imagining(call=PersonaCall.under(settings, persona, "goals", fields), recent=recent)
        try:
            imagined = await thinking.imagine_goals(order, settings, f"{persona} imagines goals")
        except ActivityError as error:
            self._leave_out(persona, error)
            return
        self._near += imagined.near
        self._goals += imagined.goals
        self._show()

    async def _score(self) -> None:
        """Each goal's score is the mean of what the personas that did not imagine it think of it.

        Each is asked twice, the second time with the goals turned round: small models go by places, too.
        """
        given: dict[int, list[float]] = {}
        for persona in self._start.personas:
            others = [n for n, goal in enumerate(self._goals) if goal.persona != persona]
            orders = [others]
            if len(others) > 1:
                orders.append(others[::-1])
            answers = [await self._scores_of(persona, order) for order in orders if order]
            if all(answers):
                for n, score in itertools.chain(*answers):
                    given.setdefault(n, []).append(score)
        for n, values in given.items():
            self._goals[n].score = round(sum(values) / len(values), 3)
        self._show()

    async def _scores_of(self, persona: Persona, numbers: list[int]) -> list[tuple[int, float]]:
        """What this persona thinks of goals that are shown in this order; nothing without a usable answer."""
        goals = [self._goals[n].goal for n in numbers]
        listed = "\n".join(f"{place}. {goal}" for place, goal in enumerate(goals, 1))
        settings = self._start.settings
        call = PersonaCall.under(settings, persona, "goal_scores", {"who": persona, "goals": listed})
        order = Scoring(call=call, goals=goals)
        try:
            scores = await thinking.score_goals(order, settings, f"{persona} scores goals")
        except ActivityError as error:
            self._leave_out(persona, error)
            return []
        return list(zip(numbers, scores.scores, strict=True))

    def _leave_out(self, persona: Persona, error: ActivityError) -> None:
        if is_cancelled_exception(error):
            raise error
        self._faults.append(f"{persona}: {failure_text(error)}")

    def _conclusion(self) -> InquiryConcluded:
        if not self._goals:
            near = f"{self._near} came near to what the team argued about lately" if self._near else ""
            return self._no_goal("; ".join([*([near] if near else []), *self._faults]))
        # The first of equals: `max` keeps the order in which they were imagined.
        best = max(self._goals, key=lambda goal: -1.0 if goal.score is None else goal.score)
        if best.score == 0:
            return self._no_goal("the others thought every goal pointless")
        return InquiryConcluded(inquiry_id=self._start.inquiry_id, best=best, goals=self._goals)

    def _no_goal(self, reason: str) -> InquiryConcluded:
        return InquiryConcluded(inquiry_id=self._start.inquiry_id, goals=self._goals, reason=reason)

    def _show(self, conclusion: InquiryConcluded | None = None) -> None:
        came_to = ""
        if conclusion:
            best = conclusion.best
            came_to = (
                f"{best.persona}'s goal was taken: {best.goal}" if best else f"No goal: {conclusion.reason}"
            )
        workflow.set_current_details(inquiry_details(self._start.reason, self._goals, came_to))
