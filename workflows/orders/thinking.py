"""Orders to the workers on the image's own task queue: what the personas say, recall, proposals, looks."""

from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from configuration import Settings
    from messages.calls import Compared, Created, Creating, Judgement, PersonaCall, Plan, Speech
    from messages.goals import Imagined, Imagining, Scores, Scoring
    from messages.image import ClosedChild
    from messages.loops import OptimizerAnswer, OptimizerRequest
    from messages.memory import Recalled, RecallRequest
    from messages.tasks import RecordedTask
    from messages.trials import RecordedTasks
    from messages.verification import Look, Looking
    from workflows.orders.terms import Terms, give

Answer = TypeVar("Answer", bound=BaseModel)

# These activities send a heartbeat each second.
HEARTBEAT_WITHIN = timedelta(seconds=4)
# How often a call is tried is decided by its failure, see activities/failures.py.
ASK_AGAIN = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=30))
# A recall bounds itself by a little less, see activities/memory/recall.py; nobody waits longer for a memory.
RECALL_WITHIN = timedelta(seconds=1)
PROPOSING = Terms(
    done_within=timedelta(minutes=10),
    heartbeat_within=HEARTBEAT_WITHIN,
    tried_again=RetryPolicy(maximum_attempts=5),
)
FINDING = Terms(done_within=timedelta(minutes=1), tried_again=RetryPolicy())
LOOKING = Terms(done_within=timedelta(seconds=10), tried_again=RetryPolicy())


async def plan(call: PersonaCall, settings: Settings, summary: str) -> Plan:
    return await _ask("plan", call, Plan, settings, summary)


async def speak(call: PersonaCall, settings: Settings, summary: str) -> Speech:
    return await _ask("speak", call, Speech, settings, summary)


async def judge_dissonance(call: PersonaCall, settings: Settings, summary: str) -> Judgement:
    return await _ask("judge_dissonance", call, Judgement, settings, summary)


async def imagine_goals(order: Imagining, settings: Settings, summary: str) -> Imagined:
    return await _ask("imagine_goals", order, Imagined, settings, summary)


async def score_goals(order: Scoring, settings: Settings, summary: str) -> Scores:
    return await _ask("score_goals", order, Scores, settings, summary)


async def create_candidates(order: Creating, settings: Settings, summary: str) -> Created:
    return await _ask("create_candidates", order, Created, settings, summary)


async def compare_answers(call: PersonaCall, settings: Settings, summary: str) -> Compared:
    return await _ask("compare_answers", call, Compared, settings, summary)


async def recall(wanted: RecallRequest) -> Recalled:
    # Local: it only reads, so after a crash it may run again, and the server need not be told of each step.
    recalled: Recalled = await workflow.execute_local_activity(
        "recall",
        wanted,
        result_type=Recalled,
        schedule_to_close_timeout=RECALL_WITHIN,
        retry_policy=RetryPolicy(maximum_attempts=1),
        summary="BABS remembers",
    )
    return recalled


async def propose_amendment(request: OptimizerRequest) -> OptimizerAnswer:
    summary = f"Look at {len(request.window)} logs"
    if request.rounds:
        summary = f"Look at {len(request.rounds)} rounds of trials"
    return await give("propose_amendment", request, answer=OptimizerAnswer, terms=PROPOSING, summary=summary)


async def look_at_change(wanted: Looking) -> Look:
    summary = f"Look at the change after {wanted.differences.n} blocks"
    return await give("look_at_change", wanted, answer=Look, terms=LOOKING, summary=summary)


async def find_recorded(wanted: RecordedTasks) -> list[RecordedTask]:
    summary = f"Read {len(wanted.task_ids)} recorded tasks"
    return await give("find_recorded", wanted, answer=list[RecordedTask], terms=FINDING, summary=summary)


async def find_closed(workflow_ids: list[str]) -> list[ClosedChild]:
    summary = "Ask after the children of an earlier run"
    return await give("find_closed", workflow_ids, answer=list[ClosedChild], terms=FINDING, summary=summary)


async def _ask(name: str, order: BaseModel, answer: type[Answer], settings: Settings, summary: str) -> Answer:
    """One call of a model: it watches `call_timeout` itself, and may have to wait behind other dialogues."""
    patience = settings.models.call_timeout * (settings.system.max_concurrent_tasks + 1)
    terms = Terms(done_within=patience, heartbeat_within=HEARTBEAT_WITHIN, tried_again=ASK_AGAIN)
    return await give(name, order, answer=answer, terms=terms, summary=summary)
