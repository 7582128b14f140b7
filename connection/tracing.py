"""Traces by OpenTelemetry, to where OTEL_EXPORTER_OTLP_ENDPOINT says; without it nothing of it is loaded.

A task carries its trace with it, as W3C trace context (`traceparent`): the image starts its dialogue, later
and in no span. The image itself, which lives for years, belongs to no trace.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from connection.problems import Problem

if TYPE_CHECKING:
    from temporalio.client import Interceptor

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
OUR_PROTOCOL = "http/protobuf"


def is_on() -> bool:
    return bool(os.environ.get(ENDPOINT)) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


@contextmanager
def sending() -> Iterator[None]:
    """Send the spans of this process as they end, the last ones on exit. Raises Problem."""
    if not is_on():
        yield
        return
    endpoint = os.environ[ENDPOINT]
    _check(endpoint, os.environ.get(PROTOCOL) or OUR_PROTOCOL)
    from connection import spans  # noqa: PLC0415 (here and below)

    with spans.sending(endpoint):
        yield


def _check(endpoint: str, protocol: str) -> None:
    if protocol != OUR_PROTOCOL:
        raise Problem(
            f"Traces are sent as {OUR_PROTOCOL}, and {PROTOCOL} says {protocol!r}; unset it, and name in "
            f"{ENDPOINT} the collector's port for HTTP, which is usually 4318"
        )
    if not endpoint.startswith(("http://", "https://")):
        from configuration.passwords import masked  # noqa: PLC0415

        told = masked(endpoint)
        raise Problem(
            f"{ENDPOINT} says {told!r}, which is no URL; name the collector like http://127.0.0.1:4318"
        )


@contextmanager
def span(name: str, caller: str = "") -> Iterator[None]:
    """Make this one span, if there are traces: of a new one, or below that of `caller`, a `traceparent`."""
    if not is_on():
        yield
        return
    from connection import spans  # noqa: PLC0415

    with spans.span(name, caller):
        yield


def current() -> str:
    """The `traceparent` of the span at work, to be handed on with a task; empty without traces."""
    if not is_on():
        return ""
    from connection import spans  # noqa: PLC0415

    return spans.current()


def interceptors() -> "list[Interceptor]":
    """What a client of Temporal needs for traces, and the workers that use it."""
    if not is_on():
        return []
    from connection import spans  # noqa: PLC0415

    return [spans.OfTemporal()]
