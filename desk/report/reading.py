"""What a report needs, read from the image, its loops and what the server still has of its tasks."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from pydantic import BaseModel
from temporalio.client import WorkflowExecution, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from connection.plain_words import Addressee, in_plain_words
from connection.problems import Problem, Unknown
from desk.client import Desk
from desk.events import carried_out
from desk.report.lived import MOST_TASKS, Argument, Found, Life, Spent
from messages.calls import Usage
from messages.loops import ProposalView
from messages.names import dialogues_of, task_of
from messages.tasks import PerformanceLog
from workflows.image_state import ImageState

AT_ONCE = 20
LOOPS_AT_ONCE = 4
"""A worker has to read the whole history of each that has ended."""
MOST_HISTORIES = 40
"""The latest tasks whose calls are read, each with its persona: a result has only the sums."""
CALLS = ("plan", "speak", "judge_dissonance")

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Tell = Callable[[str], None]


class _Concluded(BaseModel):
    """What a report needs of a DialogueResult, of any version."""

    log: PerformanceLog
    models: dict[str, str] = {}
    model_backend: str = ""


class _Call(BaseModel):
    persona: str


class _Answered(BaseModel):
    usage: Usage


async def read(desk: Desk, tell: Tell) -> Life:
    """All of it, several at a time; `tell` hears how far it has come. Raises Problem."""
    ended, state = await desk.ended(), await desk.state()
    the_server = Addressee("the Temporal server", Unknown(f"{desk.server} does not know this any more"))
    with in_plain_words(desk.server, the_server):
        tell("Reading the list of tasks")
        listed, older = await _listed(desk, state.started_at)
        results = await _several(listed, partial(argument_of, desk), AT_ONCE, partial(_news, tell, "results"))
        completed = [each for each in listed if each.status is WorkflowExecutionStatus.COMPLETED]
        latest = completed[:MOST_HISTORIES]
        calls = await _several(latest, partial(_calls, desk), AT_ONCE, partial(_news, tell, "dialogues"))
    concluded = [entry.loop_id for entry in state.ledger.amendments if entry.loop_id]
    loop_ids = [*dict.fromkeys([*concluded, *state.open_loops])]
    views = await _several(loop_ids, partial(loop_of, desk), LOOPS_AT_ONCE, partial(_news, tell, "loops"))
    loops = dict(zip(loop_ids, views, strict=True))
    return Life(
        state=state,
        ended=ended,
        written_at=datetime.now(UTC),
        arguments=_in_time(filter(None, results), state.window),
        loops={loop_id: view for loop_id, view in loops.items() if isinstance(view, ProposalView)},
        spent=_sums(calls),
        spent_of=sum(bool(each) for each in calls),
        found=Found(
            tasks=len(_known(listed, state)) + older,
            older=older,
            unreadable=results.count(None),
            no_time=sum(log.finished_at is None for log in state.window),
            loops_gone=[loop_id for loop_id, view in loops.items() if isinstance(view, Unknown)],
            loops_silent={loop_id: str(view) for loop_id, view in loops.items() if type(view) is Problem},
        ),
    )


def _news(tell: Tell, what: str, done: int, total: int) -> None:
    tell(f"Reading {what}: {done:,} of {total:,}")


async def _several(
    items: Sequence[Item],
    work: Callable[[Item], Awaitable[Answer]],
    at_once: int,
    tell: Callable[[int, int], None],
) -> list[Answer]:
    """What comes of each item, in their order."""
    free, done = asyncio.Semaphore(at_once), 0

    async def one(item: Item) -> Answer:
        nonlocal done
        async with free:
            answer = await work(item)
        done += 1
        tell(done, len(items))
        return answer

    return await asyncio.gather(*map(one, items))


# --- tasks ---


async def _listed(desk: Desk, since: datetime) -> tuple[list[WorkflowExecution], int]:
    """The latest dialogues of this life that have ended, latest first, and how many more there are."""
    # An earlier image of this name may have left some, too.
    of_this_life = f"ExecutionStatus != 'Running' AND StartTime >= '{since.isoformat()}'"
    query = f"{dialogues_of(desk.image_id)} AND {of_this_life}"
    found = [each async for each in desk.client.list_workflows(query, limit=MOST_TASKS)]
    if len(found) < MOST_TASKS:
        return found, 0
    return found, (await desk.client.count_workflows(query)).count - len(found)


async def argument_of(desk: Desk, execution: WorkflowExecution) -> Argument | None:
    """What a dialogue came to; None where its result is gone or cannot be read."""
    ended_at = execution.close_time or execution.start_time
    if execution.status is not WorkflowExecutionStatus.COMPLETED:
        seconds = (ended_at - execution.start_time).total_seconds()
        return Argument(task_of(execution.id)[1], "failed", ended_at, seconds)
    dialogue = desk.client.get_workflow_handle(execution.id, run_id=execution.run_id, result_type=_Concluded)
    try:
        result = await dialogue.result(follow_runs=False)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None
    except (WorkflowFailureError, RuntimeError, ValueError):
        return None
    models = list(result.models) or list(filter(None, [result.model_backend]))
    return Argument.of(result.log, result.log.finished_at or ended_at, models)


async def _calls(desk: Desk, execution: WorkflowExecution) -> list[Spent]:
    """The calls of one dialogue; none where its history is gone or cannot be read."""
    events = desk.client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history_events()
    decode, found = desk.client.data_converter.decode, list[Spent]()
    try:
        async for asked, answered in carried_out(events, CALLS):
            (call,), (answer,) = await decode(asked, [_Call]), await decode(answered, [_Answered])
            found.append(_spent(call.persona, answer.usage))
    except (RPCError, RuntimeError, ValueError):
        return []
    return found


def _spent(persona: str, usage: Usage) -> Spent:
    model = usage.model or usage.model_backend
    return Spent(persona, model, 1, usage.tokens_in, usage.tokens_out, usage.seconds)


def _known(listed: Iterable[WorkflowExecution], state: ImageState) -> set[str]:
    """The tasks that the server lists, or whose logs the image has: the list lags a moment behind."""
    own = {log.task_id for log in state.window if log.origin != "external"}
    return own | {task_of(each.id)[1] for each in listed}


def _in_time(results: Iterable[Argument], window: Iterable[PerformanceLog]) -> list[Argument]:
    """All arguments once, in the order in which they ended. Of a failed one the window knows more."""
    found = {result.task_id: result for result in results}
    for log in window:
        if log.finished_at is not None:
            result = found.get(log.task_id)
            found[log.task_id] = Argument.of(log, log.finished_at, result.models if result else ())
    return sorted(found.values(), key=lambda argument: argument.ended_at)


def _sums(calls: Iterable[Iterable[Spent]]) -> list[Spent]:
    """By persona and model, the most tokens first."""
    sums: dict[tuple[str, str], Spent] = {}
    for each in (one for of_task in calls for one in of_task):
        so_far = sums.get((each.persona, each.model))
        sums[each.persona, each.model] = so_far.plus(each) if so_far else each
    return sorted(sums.values(), key=lambda each: -(each.tokens_in + each.tokens_out))


# --- loops ---


async def loop_of(desk: Desk, loop_id: str) -> ProposalView | Problem:
    """What a loop tells of itself, or why it cannot."""
    try:
        return await desk.proposal(loop_id)
    except Problem as problem:
        return problem
