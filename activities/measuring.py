"""What is measured of each call of a model, for Prometheus; it costs nothing where nobody asks for it."""

from temporalio import activity
from temporalio.runtime import Runtime

from messages.calls import Usage
from messages.metrics import MODEL_SECONDS, MODEL_WAIT_SECONDS, TOKENS


def measure_call(persona: str, usage: Usage, waited: float) -> None:
    """Of a call that was answered. `waited`: seconds for a free slot of the model."""
    # What front ends ask on the side, at a door, belongs to no activity.
    meter = activity.metric_meter() if activity.in_activity() else Runtime.default().metric_meter
    tokens = meter.create_counter(TOKENS, "Tokens that models have read and written")
    for direction, count in (("in", usage.tokens_in), ("out", usage.tokens_out)):
        tokens.add(count, {"persona": persona, "model": usage.model, "direction": direction})
    meter.create_histogram_float(MODEL_SECONDS, "Seconds of a model call").record(
        usage.seconds, {"model": usage.model}
    )
    meter.create_histogram_float(MODEL_WAIT_SECONDS, "Seconds that a call waited for a slot").record(
        waited, {"model": usage.model}
    )
