"""What a worker prints while it runs: one line for one event, on stderr."""

import logging
import time
from datetime import timedelta

from temporalio.exceptions import ApplicationError
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from configuration import InvalidSettings

# An outage is worth a line when it begins and one now and then, not one for each of a dozen pollers.
OUTAGE_SECONDS = 60.0
# So a worker tells the server which SDK it has, and that it is there; before the first nothing is known.
WORKER_HEARTBEAT = timedelta(seconds=10)


def configure_logs() -> None:
    """To be called once, before the first client: the SDK's own log would go to stdout."""
    handler = logging.StreamHandler()
    handler.addFilter(_Plain())
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", handlers=[handler]
    )
    logging.getLogger("runtime").setLevel(logging.INFO)
    core = LogForwardingConfig(
        logger=logging.getLogger("temporal_core"),
        prepend_target_on_message=False,
        append_log_fields_to_message=False,
    )
    telemetry = LoggingConfig(filter=TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding=core)
    Runtime.set_default(
        Runtime(telemetry=TelemetryConfig(logging=telemetry), worker_heartbeat_interval=WORKER_HEARTBEAT)
    )


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
