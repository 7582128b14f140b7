"""What one task and one approved change leave in the histories, and what Temporal Cloud would bill for them.

Counted from the histories by the rules of Temporal Cloud; heartbeats leave no event, so they are counted by
the server's own metrics, in a task whose calls take seconds. `python -m benchmarks.costs`
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle

from benchmarks.bare import CALLS
from benchmarks.measures import Bench, Row, ask_bare, remembering
from benchmarks.stage import run_alone

ACTIONS = {
    "WORKFLOW_EXECUTION_STARTED": 1,
    # The intent and the start.
    "START_CHILD_WORKFLOW_EXECUTION_INITIATED": 2,
    "ACTIVITY_TASK_SCHEDULED": 1,
    "TIMER_STARTED": 1,
    # Of a signal between workflows this one alone counts, and not the sender's events.
    "WORKFLOW_EXECUTION_SIGNALED": 1,
    "WORKFLOW_EXECUTION_UPDATE_ACCEPTED": 1,
    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES": 1,
    # All of one workflow task are one, which ours never has more of.
    "MARKER_RECORDED": 1,
}
SLOW_CALL_SECONDS = 5
BEATS = re.compile(
    r'^service_requests{[^}]*"RecordActivityTaskHeartbeat"[^}]*"frontend"[^}]*} (\S+)$', re.MULTILINE
)


@dataclass
class Cost:
    """What events come to. `actions` by the kind of event."""

    events: int
    bytes: int
    actions: Counter[str]

    @classmethod
    def of(cls, events: Sequence[HistoryEvent]) -> "Cost":
        kinds = Counter(_billed_as(event) for event in events)
        actions = Counter({kind: times * kinds[kind] for kind, times in ACTIONS.items()})
        return cls(len(events), sum(event.ByteSize() for event in events), +actions)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.events + other.events, self.bytes + other.bytes, self.actions + other.actions)

    def row(self, what: str, times: int, bare: "Cost | None" = None) -> list[Row]:
        """Events, bytes and actions of one of so many."""
        rows = []
        for unit in ("events", "bytes", "actions"):
            mine, other = self._sum(unit) / times, bare._sum(unit) if bare else 0
            rows.append(
                Row(
                    f"{what}: {unit}",
                    f"{mine:,.1f}" if unit != "bytes" else f"{mine:,.0f}",
                    f"{other:,.0f}" if bare else "",
                    f"{mine / other:.2f}" if bare else "",
                )
            )
        return rows

    def _sum(self, unit: str) -> float:
        return self.actions.total() if unit == "actions" else float(getattr(self, unit))

    def kinds(self, times: int) -> str:
        named = (
            (kind.lower().replace("_", " "), count / times) for kind, count in self.actions.most_common()
        )
        return ", ".join(f"{kind} {count:g}" for kind, count in named)


def _billed_as(event: HistoryEvent) -> str:
    """The kind of an event; "" where it costs nothing."""
    started = event.workflow_execution_started_event_attributes
    upserted = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
    # A child is paid for by who starts it, and what `workflow.patched` notes by nobody.
    if started.HasField("parent_workflow_execution") or [*upserted] == ["TemporalChangeVersion"]:
        return ""
    return EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")


async def costs(bench: Bench) -> list[Row]:
    """One task of six calls beside the bare one; one approved change; the heartbeats of slow calls."""
    with bench.worker():
        await remembering(bench, True)
        await bench.image.ask("Warm?")
        rows = await _tasks(bench)
        rows += await _change(bench)
        return rows + await _heartbeats(bench)


async def _tasks(bench: Bench) -> list[Row]:
    image = bench.image
    before, dialogues = await _length(image.image), Cost.of(())
    # Each is handed in when the one before is over, which costs most.
    for number in range(bench.rounds):
        receipt = await image.submit(f"What does question {number} cost?")
        await image.result(receipt)
        await image.tasks_finished()
        dialogues += await _cost(image.client.get_workflow_handle(receipt.workflow_id))
    own = await _cost(image.image, since=before)
    await ask_bare(bench, "billed")
    bare = await _cost(image.client.get_workflow_handle("billed"))
    task = own + dialogues
    return [
        *task.row("a task of six calls, image and dialogue", bench.rounds, bare),
        Row(
            "of these, in the image: events, bytes",
            f"{own.events / bench.rounds:.1f}, {own.bytes / bench.rounds:,.0f}",
        ),
        Row("its actions", task.kinds(bench.rounds), bare.kinds(1)),
    ]


async def _change(bench: Bench) -> list[Row]:
    image = bench.image
    await image.record_reasons()
    before = await _length(image.image)
    view = await image.proposal(await image.reflect())
    await image.decide(view.loop_id)
    await image.loops_concluded()
    whole = await _cost(image.loop(view.loop_id)) + await _cost(image.image, since=before)
    return [
        *whole.row("an approved change, image and loop, from `reflect` to its adoption", 1),
        Row("its actions", whole.kinds(1)),
    ]


async def _heartbeats(bench: Bench) -> list[Row]:
    """A task whose every call takes seconds, by the metrics of the server."""
    async with httpx.AsyncClient() as client:

        async def beats() -> float:
            told = (await client.get(bench.metrics)).text
            return sum(float(count) for count in BEATS.findall(told))

        await client.put(f"{bench.host}/delay", json=SLOW_CALL_SECONDS)
        before = await beats()
        await bench.image.ask("And slowly?")
        count = await beats() - before
        await client.put(f"{bench.host}/delay", json=bench.delay_ms / 1000)
    return [
        Row(
            f"heartbeats, which are actions too, of a task of {CALLS} calls of {SLOW_CALL_SECONDS} s",
            f"{count:g}",
        )
    ]


async def _length(handle: WorkflowHandle[Any, Any]) -> int:
    return (await handle.describe()).history_length


async def _cost(handle: WorkflowHandle[Any, Any], since: int = 0) -> Cost:
    """Of what has happened after so many events."""
    return Cost.of((await handle.fetch_history()).events[since:])


if __name__ == "__main__":
    run_alone(costs, __doc__, rounds=10)
