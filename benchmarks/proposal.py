"""What one proposal takes at so many rows: seconds, and the peak memory of the process that computes it.

Each size has a process of its own, as the worker has one. It is asked for candidates twice: the first answer
includes what it takes to start and to load, the second one does not.
"""

import argparse
import os
import random
import subprocess
import sys
import time

from configuration import Settings, Tunable, Value
from configuration.reading import load_settings
from messages.loops import OptimizerAnswer, OptimizerRequest
from messages.tasks import PerformanceLog
from messages.trials import Moments, Observation
from testbed.world import SETTINGS

ROWS = (10, 100, 1000)
TASKS = 40


def request(rows: int) -> OptimizerRequest:
    """A table of so many windows, each under values of its own, and noise alone: nothing is like another."""
    settings, chance = load_settings(SETTINGS), random.Random(rows)
    digest = settings.digest()
    log = PerformanceLog(
        task_id="task", final_dissonance=0.5, turn_count=4, outcome="max_turns", settings_digest=digest
    )
    return OptimizerRequest(
        window=[log] * TASKS,
        settings=settings,
        settings_digest=digest,
        observations=[_row(settings, batch, chance) for batch in range(rows)],
        seed=rows,
    )


def _row(settings: Settings, batch: int, chance: random.Random) -> Observation:
    return Observation(
        digest=str(batch),
        batch=batch,
        values={key: _value(one, chance) for key, one in settings.tunables().items()},
        dissonance={"question": Moments(n=TASKS, mean=chance.uniform(0.2, 0.6), m2=0.02 * TASKS)},
        tokens={"question": Moments(n=TASKS, mean=chance.uniform(2000, 9000), m2=1e6 * TASKS)},
    )


def _value(tunable: Tunable, chance: random.Random) -> Value:
    if tunable.kind == "choice":
        return chance.choice(tunable.choices)
    drawn = chance.uniform(tunable.low, tunable.high)
    return round(drawn) if tunable.kind == "integer" else drawn


def measure(rows: int) -> list[str]:
    """Of one process: seconds to the first answer and to the second, processor seconds of all, peak MB."""
    asked = request(rows).model_dump_json().encode() + b"\n"
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "optimizer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    took = []
    for _ in range(2):
        _ask(process, asked)
        took.append(time.perf_counter() - began)
        began = time.perf_counter()
    assert process.stdin
    process.stdin.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return [
        f"{rows:,}",
        *(f"{seconds:.2f}" for seconds in took),
        f"{used.ru_utime + used.ru_stime:.2f}",
        f"{used.ru_maxrss / 1024:.0f}",
        f"{len(asked) / 1024:.0f}",
    ]


def _ask(process: "subprocess.Popen[bytes]", asked: bytes) -> None:
    """Raises AssertionError where it has no candidates to try."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(asked)
    process.stdin.flush()
    answer = OptimizerAnswer.model_validate_json(process.stdout.readline())
    assert answer.candidates, answer.reason


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proposal", description=__doc__)
    parser.add_argument("--rows", type=int, action="append", help="only so many; repeatable")
    arguments = parser.parse_args()
    print(
        "| rows | first answer, s | second answer, s | processor, both, s | peak memory, MB | request, KB |"
    )
    print("| --- " * 6 + "|")
    for rows in arguments.rows or ROWS:
        print(f"| {' | '.join(measure(rows))} |", flush=True)
    keys = len(load_settings(SETTINGS).tunables())
    print(f"\n{keys} keys")
