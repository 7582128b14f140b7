"""Whether there is enough to go by at all. Standard library only: no process is started for a no."""

from messages.loops import OptimizerRequest

FEWEST = 4
"""Arguments under the present settings, measured, that the window holds before anything is tried."""


def too_little(request: OptimizerRequest) -> str:
    """Why there is nothing to go by since a person was asked the last time, or nothing."""
    present = [log for log in request.window if log.settings_digest == request.settings_digest]
    finished = [log for log in present if log.outcome != "failed"]
    argued = sum(log.final_dissonance is not None for log in finished)
    if argued >= FEWEST:
        return ""
    others = len(request.window) - len(present)
    told = f". The window holds {others} more, argued under other settings" if others else ""
    return _too_few(argued, len(finished), len(present)) + told


def _too_few(argued: int, finished: int, all_of_them: int) -> str:
    """Why the window says too little, and what to do where its arguments were not measured."""
    counted = f"{finished} finished arguments under the present settings ({all_of_them - finished} failed)"
    if finished < FEWEST:
        return f"{counted}; at least {FEWEST} are needed"
    return (
        f"{counted}, {finished - argued} of them without a dissonance at the end; at least {FEWEST} with one "
        "are needed: the transcript of a task says why it is missing, and a model for ROBIN that does not "
        "think and keeps to JSON schemas gives one"
    )
