"""Dialogues that somebody has broken, under the name of the real one: a replay must notice."""

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from messages.tasks import DialogueResult
    from workflows.dialogue import Dialogue


@workflow.defn(name="Dialogue")
class AlwaysResearching(Dialogue):
    """Asks BABS whether or not the plan asks for research."""

    @workflow.init
    def __init__(self, start: Any = None) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: Any = None) -> DialogueResult:
        return await super().run(start)

    async def _prepare(self) -> None:
        await super()._prepare()
        if not self._transcript.research:
            self._transcript.research = await self._speak("BABS", "research", "BABS researches", plan="")


@workflow.defn(name="Dialogue")
class DeafDialogue(Dialogue):
    """Calls the right personas in the right order, and tells none of them what was said before."""

    @workflow.init
    def __init__(self, start: Any = None) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: Any = None) -> DialogueResult:
        return await super().run(start)

    async def _call(self, order: Any, persona: Any, words: str, summary: str, **_: str) -> Any:
        return await super()._call(order, persona, words, summary)
