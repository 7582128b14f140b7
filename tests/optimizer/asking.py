"""What the optimizer is asked in tests: tables of losses, and rounds of trials that came to given ones."""

from typing import Any

import numpy as np

from configuration import Value
from configuration.reading import load_settings
from messages.loops import OptimizerAnswer, OptimizerRequest
from messages.tasks import PerformanceLog
from messages.trials import Candidate, Judged, Moments, Observation, Replay, Round
from optimizer.consider import consider
from optimizer.goals import Goals
from testbed.world import SETTINGS as SHIPPED

SETTINGS = load_settings(SHIPPED)
GOALS = Goals.of(SETTINGS)
WARM = "temperatures.robin"
JUDGE = Judged(model="judge", wins=3, ties=1)

ARGUED = [
    PerformanceLog(
        task_id=f"q{number}",
        final_dissonance=0.5,
        turn_count=4,
        outcome="max_turns",
        settings_digest=SETTINGS.digest(),
    )
    for number in range(4)
]


def moments(mean: float, n: int = 40, sd: float = 0.12) -> Moments:
    return Moments(n=n, mean=mean, m2=(n - 1) * sd * sd)


def row(dissonance: float, batch: int = 0, n: int = 40, **values: Value) -> Observation:
    told = {key.replace("__", "."): value for key, value in values.items()}
    return Observation(
        digest=SETTINGS.digest(),
        batch=batch,
        values=SETTINGS.tuned() | told,
        dissonance={"question": moments(dissonance, n)},
        tokens={"question": moments(5000, n, 500)},
    )


def request(**told: Any) -> OptimizerRequest:
    return OptimizerRequest(
        **{
            "window": ARGUED,
            "settings": SETTINGS,
            "settings_digest": SETTINGS.digest(),
            "observations": [row(0.5)],
            "seed": 7,
        }
        | told
    )


def tried(candidates: list[Candidate], losses: list[float], count: int, first: int = 0) -> Round:
    """A round in which every task came to the loss of its arm, but for what is the task's own."""
    generator = np.random.default_rng(first)
    own = generator.normal(0, 0.05, count)
    return Round(
        candidates=candidates,
        replays=[
            Replay(
                task_id=f"t{first + task}",
                arm=arm,
                outcome="converged",
                dissonance=float(np.clip(loss + own[task] + generator.normal(0, 0.02), 0, 1)),
                tokens=5000,
            )
            for arm, loss in enumerate(losses)
            for task in range(count)
        ],
    )


def through_both_rounds(
    better: float, *, observations: list[Observation] | None = None, judged: Judged | None = JUDGE
) -> OptimizerAnswer:
    """Trials in which each candidate lowers the loss by so much."""
    asked = request(observations=observations or [row(0.5)])
    for number, count in enumerate((3, 4)):
        found = consider(asked)
        if not found.candidates:
            return found
        losses = [0.5, *(0.5 - better for _ in found.candidates)]
        asked.rounds.append(tried(found.candidates, losses, count, first=10 * number))
    asked.judged = [judged] * len(asked.rounds[-1].candidates) if judged else []
    return consider(asked)
