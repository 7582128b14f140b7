"""What workflows measure, for Prometheus: nothing while a history is replayed, and no event ever."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from messages.metrics import DISSONANCE, TASKS, TURNS, VERDICTS
    from messages.tasks import PerformanceLog
    from messages.verification import Verdict


def measure_task(image_id: str, log: PerformanceLog) -> None:
    meter, of = workflow.metric_meter(), {"image": image_id, "origin": log.origin}
    meter.create_counter(TASKS, "Tasks that ended").add(1, {**of, "outcome": log.outcome})
    meter.create_histogram_float(TURNS, "Turns of an argument").record(log.turn_count, of)
    if log.final_dissonance is not None:
        histogram = meter.create_histogram_float(DISSONANCE, "Dissonance at the end of an argument")
        histogram.record(log.final_dissonance, of)


def measure_verdict(image_id: str, verdict: Verdict) -> None:
    counter = workflow.metric_meter().create_counter(VERDICTS, "Changes that were verified")
    counter.add(1, {"image": image_id, "verdict": verdict})
