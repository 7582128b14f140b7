"""What `connection.tracing` does where there are traces: it loads OpenTelemetry, which takes a while."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio import workflow
from temporalio.client import OutboundInterceptor, QueryWorkflowInput, StartWorkflowInput, WorkflowHandle
from temporalio.contrib.opentelemetry import TracingInterceptor, TracingWorkflowInboundInterceptor
from temporalio.worker import (
    StartChildWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from configuration.passwords import masked
from connection.version import NAME, VERSION

logger = logging.getLogger(__name__)

SEND_SECONDS = 2.0
"""A collector that does not answer holds up the end of a command for so long."""

_W3C = TraceContextTextMapPropagator()


@contextmanager
def sending(endpoint: str) -> Iterator[None]:
    ours = Resource.create({"service.name": NAME, "service.version": VERSION})
    provider = TracerProvider(
        resource=ours.merge(OTELResourceDetector().detect()),  # a person's own name for it goes first
        shutdown_on_exit=False,
    )
    timeout = None if os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") else SEND_SECONDS
    provider.add_span_processor(BatchSpanProcessor(_Exporter(endpoint, timeout)))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


class _Exporter(OTLPSpanExporter):
    """Says once in an outage that nobody takes the traces, instead of two lines at every attempt."""

    def __init__(self, endpoint: str, timeout: float | None) -> None:
        super().__init__(timeout=timeout)
        self._named = masked(endpoint)
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._told = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result is SpanExportResult.FAILURE and not self._told:
            logger.warning("No collector takes the traces at %s; all else goes on", self._named)
        self._told = result is SpanExportResult.FAILURE
        return result


@contextmanager
def span(name: str, caller: str) -> Iterator[None]:
    with trace.get_tracer(NAME, VERSION).start_as_current_span(name, _below(caller)):
        yield


def current() -> str:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent", "")


def _below(traceparent: str) -> context.Context:
    return _W3C.extract({"traceparent": traceparent}, context.Context())


class OfTemporal(TracingInterceptor):
    """The SDK's interceptor, but for three things.

    The start of an image is no span: all that it does for years would be below it. Nor is a query: whoever
    watches sends one each second. And the child that is started for a task is part of the task's trace.
    """

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Calls(super().intercept_client(next), next)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[TracingWorkflowInboundInterceptor]:
        super().workflow_interceptor_class(input)
        return _OfWorkflows


class _Calls(OutboundInterceptor):
    def __init__(self, traced: OutboundInterceptor, plain: OutboundInterceptor) -> None:
        super().__init__(traced)
        self._plain = plain

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        return await self._plain.start_workflow(input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        return await self._plain.query_workflow(input)


class _OfWorkflows(TracingWorkflowInboundInterceptor):
    def __init__(self, next: WorkflowInboundInterceptor) -> None:
        super().__init__(_Within(next))


class _Within(WorkflowInboundInterceptor):
    """Of two that see what a workflow does, the inner one sees it first: before a child's span is begun."""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_OfTasks(outbound))


class _OfTasks(WorkflowOutboundInterceptor):
    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        traceparent = getattr(input.args[0], "trace", "") if input.args else ""
        token = context.attach(_below(traceparent))
        try:
            return await super().start_child_workflow(input)
        finally:
            context.detach(token)
