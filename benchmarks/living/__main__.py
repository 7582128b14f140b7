"""Run every policy on every family of surfaces, and print what came of it."""

import argparse
import sys
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.living.policies import POLICIES
from benchmarks.living.report import by_family, plot, summary
from benchmarks.living.surfaces import FAMILIES
from benchmarks.living.world import Trace

Runs = dict[str, dict[str, list[Trace]]]


def run(policies: list[str], seeds: range) -> Runs:
    """The traces by policy and family, seeds in order."""
    found: Runs = {}
    for policy in policies:
        began = time.perf_counter()
        found[policy] = {family: [POLICIES[policy](family, seed) for seed in seeds] for family in FAMILIES}
        print(f"{policy}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.living", description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="runs for each family (4)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--policy", action="append", choices=list(POLICIES), help="only this one; repeatable")
    parser.add_argument("--plot", type=Path, help="draw the loss over time into this file")
    arguments = parser.parse_args()
    began = time.perf_counter()
    threadpool_limits(1)  # matrices this small gain nothing by more, and others use the machine, too
    chosen = list(dict.fromkeys(["leave it alone", *(arguments.policy or POLICIES)]))
    runs = run(chosen, range(arguments.first_seed, arguments.first_seed + arguments.seeds))
    print(summary(runs))
    print(by_family(runs))
    if arguments.plot:
        plot(runs, arguments.plot)
    print(f"{arguments.seeds} seeds, {time.perf_counter() - began:.0f} s")
