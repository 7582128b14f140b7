"""What a workflow asked for and came to: as its history tells, and as its code says when it is replayed.

The SDK's own replay compares which commands a workflow gives, not what is in them; these two lists do.
"""

import json
from datetime import timedelta
from typing import Any, NoReturn

from google.protobuf.duration_pb2 import Duration
from temporalio import workflow
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.client import WorkflowHistory
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleUpdateInput,
    Interceptor,
    Replayer,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from connection.codec import data_converter
from runtime.workflow_runner import PatientRunner

Deeds = dict[str, list[Any]]
"""By kind (activities, children, signals, updates, ends), everything in its order as plain JSON values."""


def deeds_of(history: WorkflowHistory) -> Deeds:
    """What a history says was done."""
    deeds: Deeds = {}
    task_queue = history.events[0].workflow_execution_started_event_attributes.task_queue.name
    for event in history.events:
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                asked = event.activity_task_scheduled_event_attributes
                _add(
                    deeds,
                    "activities",
                    asked.activity_type.name,
                    asked.task_queue.name.removeprefix(task_queue),
                    _json(asked.input),
                    _seconds(asked.start_to_close_timeout),
                    _seconds(asked.heartbeat_timeout),
                )
            case EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
                child = event.start_child_workflow_execution_initiated_event_attributes
                _add(deeds, "children", child.workflow_type.name, child.workflow_id, _json(child.input))
            case EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
                signal = event.signal_external_workflow_execution_initiated_event_attributes
                receiver = signal.workflow_execution.workflow_id
                _add(deeds, "signals", signal.signal_name, receiver, _json(signal.input))
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
                update = event.workflow_execution_update_completed_event_attributes
                outcome = update.outcome
                answer = _failure(outcome.failure) if outcome.HasField("failure") else _json(outcome.success)
                _add(deeds, "updates", update.meta.update_id, answer)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
                _add(deeds, "ends", _json(event.workflow_execution_continued_as_new_event_attributes.input))
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
                _add(deeds, "ends", _json(event.workflow_execution_completed_event_attributes.result))
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
                _add(deeds, "ends", _failure(event.workflow_execution_failed_event_attributes.failure))
    return _in_order(deeds)


def unsaid(recorded: Any, today: Any, where: str = "deeds") -> list[str]:
    """Where today's deeds differ from recorded ones. A later version may say more: fields are added."""
    if isinstance(recorded, dict) and isinstance(today, dict):
        return [line for key in recorded for line in unsaid(recorded[key], today.get(key), f"{where}.{key}")]
    if isinstance(recorded, list) and isinstance(today, list) and len(recorded) == len(today):
        pairs = enumerate(zip(recorded, today, strict=True))
        return [line for n, (old, new) in pairs for line in unsaid(old, new, f"{where}[{n}]")]
    return [] if recorded == today else [f"{where}: {recorded!r} is now {today!r}"]


async def replay(history: WorkflowHistory, workflows: list[type]) -> Deeds:
    """What the code of today does with a history. Raises when its commands are not those of the history."""
    witness = _Witness()
    # The converter and the sandbox that runtime/workers.py gives the workers.
    replayer = Replayer(
        workflows=workflows,
        workflow_runner=PatientRunner(),
        data_converter=data_converter(),
        interceptors=[witness],
    )
    await replayer.replay_workflow(history)
    return _in_order(witness.deeds)


def _add(deeds: Deeds, kind: str, *deed: Any) -> None:
    deeds.setdefault(kind, []).append(list(deed))


def _in_order(deeds: Deeds) -> Deeds:
    # Two updates that end in the same workflow task stand in the history in an order of the server's own.
    return deeds | {"updates": sorted(deeds.get("updates", []), key=lambda update: str(update[0]))}


def _json(payloads: Payloads) -> list[Any]:
    return [json.loads(payload.data) if payload.data else None for payload in payloads.payloads]


def _as_json(*values: Any) -> list[Any]:
    return _json(Payloads(payloads=data_converter().payload_converter.to_payloads(values)))


def _failure(failure: Failure) -> list[str]:
    return [failure.application_failure_info.type, failure.message]


def _seconds(duration: Duration | timedelta | None) -> float:
    if duration is None:
        return 0.0
    return (duration if isinstance(duration, timedelta) else duration.ToTimedelta()).total_seconds()


class _Witness(Interceptor):
    """Writes down what a workflow does while it is replayed."""

    def __init__(self) -> None:
        self.deeds: Deeds = {}

    def workflow_interceptor_class(
        self, _: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return _inbound(self.deeds)


def _inbound(deeds: Deeds) -> type[WorkflowInboundInterceptor]:
    class Inbound(WorkflowInboundInterceptor):
        def init(self, outbound: WorkflowOutboundInterceptor) -> None:
            super().init(_outbound(deeds)(outbound))

        async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
            try:
                result = await super().execute_workflow(input)
            except ApplicationError as error:
                _add(deeds, "ends", [error.type, error.message])
                raise
            _add(deeds, "ends", _as_json(result))
            return result

        async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
            try:
                answer = await super().handle_update_handler(input)
            except ApplicationError as error:
                _add(deeds, "updates", input.id, [error.type, error.message])
                raise
            _add(deeds, "updates", input.id, _as_json(answer))
            return answer

    return Inbound


def _outbound(deeds: Deeds) -> type[WorkflowOutboundInterceptor]:
    class Outbound(WorkflowOutboundInterceptor):
        def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
            own = workflow.info().task_queue
            _add(
                deeds,
                "activities",
                input.activity,
                (input.task_queue or own).removeprefix(own),
                _as_json(*input.args),
                _seconds(input.start_to_close_timeout),
                _seconds(input.heartbeat_timeout),
            )
            return super().start_activity(input)

        async def start_child_workflow(
            self, input: StartChildWorkflowInput
        ) -> workflow.ChildWorkflowHandle[Any, Any]:
            _add(deeds, "children", input.workflow, input.id, _as_json(*input.args))
            return await super().start_child_workflow(input)

        async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
            _add(deeds, "signals", input.signal, input.workflow_id, _as_json(*input.args))
            await super().signal_external_workflow(input)

        def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
            _add(deeds, "ends", _as_json(*input.args))
            super().continue_as_new(input)

    return Outbound
