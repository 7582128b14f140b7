"""What a worker tells of itself: a line for each event, on stderr, and metrics where they are asked for."""

import logging
import time
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from configuration import InvalidSettings
from connection.problems import Problem
from messages.metrics import BUCKETS
from messages.names import ids_of

# An outage is worth a line when it begins and one now and then, not one for each of a dozen pollers.
OUTAGE_SECONDS = 60.0
# So a worker tells the server which SDK it has, and that it is there; before the first nothing is known.
WORKER_HEARTBEAT = timedelta(seconds=10)


def configure_logs(metrics: str = "", as_json: bool = False) -> None:
    """To be called once, before the first client: the SDK's own log would go to stdout.

    `metrics`: the address, as `host:port`, at which Prometheus finds them. `as_json`: each line is an object,
    with the image, task or loop that it is about. Raises Problem where the address is taken.
    """
    handler = logging.StreamHandler()
    handler.addFilter(_Plain())
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", handlers=[handler]
    )
    if as_json:
        _write_json(handler)
    logging.getLogger("runtime").setLevel(logging.INFO)
    core = LogForwardingConfig(
        logger=logging.getLogger("temporal_core"),
        prepend_target_on_message=False,
        append_log_fields_to_message=False,
    )
    telemetry = LoggingConfig(filter=TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding=core)
    prometheus = PrometheusConfig(
        bind_address=metrics,
        counters_total_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides=BUCKETS,
    )
    config = TelemetryConfig(logging=telemetry, metrics=prometheus if metrics else None)
    try:
        Runtime.set_default(Runtime(telemetry=config, worker_heartbeat_interval=WORKER_HEARTBEAT))
    except (RuntimeError, ValueError) as error:
        raise Problem(f"Metrics cannot be served at {metrics} ({error}); choose another --metrics") from None


def _write_json(handler: logging.Handler) -> None:
    # Imported here: commands, which have no such log, do not wait for it.
    from pythonjsonlogger.core import RESERVED_ATTRS  # noqa: PLC0415
    from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415

    handler.addFilter(_about)
    handler.setFormatter(
        JsonFormatter(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, "temporal_activity", "temporal_workflow"],
            timestamp="time",
        )
    )


def _about(record: logging.LogRecord) -> bool:
    """Say in a record which workflow it is about, if about any."""
    told = getattr(record, "temporal_activity", None) or getattr(record, "temporal_workflow", None) or {}
    workflow_id = told.get("workflow_id") or (activity.info().workflow_id if activity.in_activity() else None)
    for name, value in (ids_of(workflow_id) if workflow_id else {}).items():
        setattr(record, name, value)
    return True


class _Plain(logging.Filter):
    """Shortens what the SDK says at length."""

    def __init__(self) -> None:
        super().__init__()
        self._outage_told_at = -OUTAGE_SECONDS

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ApplicationError):
            if error.type == InvalidSettings.__name__:
                return False  # Whoever had the file read is told: the watcher, or a person's command.
            # A failure with a name and a sentence of its own; the Web UI shows it with its stack.
            record.msg, record.args, record.exc_info = f"{error.type}: {error.message}", (), None
        if record.name.startswith("temporal_core") and "retried" in record.getMessage():
            if time.monotonic() - self._outage_told_at < OUTAGE_SECONDS:
                return False
            self._outage_told_at = time.monotonic()
            record.msg, record.args = "The Temporal server does not answer; trying on.", ()
        return True
