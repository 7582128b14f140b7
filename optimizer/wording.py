"""A proposal, or why there is none, in words that a person decides by. Every figure in them was computed."""

from collections.abc import Mapping, Sequence

from configuration import Value
from messages.loops import OptimizerRequest
from messages.trials import Candidate, Effect, Judged, Moments
from optimizer.candidates import WORSE_BY
from optimizer.paired import Paired


def change(values: Mapping[str, Value], present: Mapping[str, Value]) -> str:
    return ", ".join(f"{key} from {present[key]} to {value}" for key, value in values.items())


def objected(values: Mapping[str, Value], present: Mapping[str, Value], against: Sequence[str]) -> str:
    return f"the best of what was looked at is {change(values, present)}, but {'; '.join(against)}"


def not_worth_a_trial(
    values: Mapping[str, Value], present: Mapping[str, Value], gained: float, needed: float
) -> str:
    return (
        f"the most promising step is {change(values, present)}, but a trial of it is expected to gain "
        f"{gained:.4f}; below {needed:.4f} it is not worth its tokens"
    )


def justification(candidate: Candidate, trial: Paired | None, judged: Judged | None) -> str:
    """What speaks for it: trials, the judge, and the reason of whoever thought of it."""
    told = []
    if trial is None:
        told.append("All arguments so far, seen together, speak for it; it was not tried.")
    else:
        told.append(
            f"Tried on {_count(trial.gain.n, 'recorded task')}: the loss was lower on {trial.won}, higher on "
            f"{trial.lost}, and {_less(trial.gain.mean)} on average."
        )
    if judged is not None:
        told.append(
            f"The judge preferred its answers {judged.wins} times and the present ones {judged.losses} times "
            f"({_count(judged.ties, 'tie')})"
            + (", but changed its mind with the order too often to be heard." if judged.muted else ".")
        )
    if candidate.reason:
        told.append(f"The Creator's reason: {candidate.reason}")
    return " ".join(told)


def expected_effect(effect: Effect, trial: Paired | None) -> str:
    """The gain with its interval, the two probabilities, and what it costs."""
    told = (
        f"The loss of a task is expected to fall by {effect.gain:.3f} ({effect.low:.3f} to {effect.high:.3f} "
        f"with a probability of 0.9). It is better with a probability of {effect.better:.2f}, and worse by "
        f"more than {WORSE_BY} with {effect.worse:.2f}."
    )
    if trial is None or not trial.tokens.n:
        return told
    more = "more" if trial.tokens.mean >= 0 else "fewer"
    return f"{told} In the trials a task took {abs(trial.tokens.mean):.0f} tokens {more}."


def evidence(request: OptimizerRequest, effect: Effect, trial: Paired | None) -> dict[str, Value | None]:
    """The figures that the words rest on."""
    dissonance, tokens, failed = Moments(), Moments(), 0
    for row in request.observations:
        present = (row.digest, row.conditions) == (request.settings_digest, request.conditions)
        if present and not row.paired:  # what trials argued, or found on record, is told of apart
            failed += row.failed
            for one in row.dissonance.values():
                dissonance.merge(one)
            for one in row.tokens.values():
                tokens.merge(one)
    told: dict[str, Value | None] = {
        "arguments under the present settings": dissonance.n,
        "failed": failed,
        "mean dissonance": round(dissonance.mean, 3) if dissonance.n else None,
        "mean tokens": round(tokens.mean) if tokens.n else None,
        "rows learnt from": len(request.observations),
        "expected gain": round(effect.gain, 4),
        "probability of a gain": round(effect.better, 3),
    }
    if trial is None:
        return told
    error = trial.standard_error
    return told | {
        "tasks tried": trial.gain.n,
        "lower loss on": trial.won,
        "higher loss on": trial.lost,
        "mean gain in trials": round(trial.gain.mean, 4) if trial.gain.n else None,
        "standard error of it": None if error is None else round(error, 4),
    }


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _less(gain: float) -> str:
    return f"{abs(gain):.3f} {'lower' if gain >= 0 else 'higher'}"
