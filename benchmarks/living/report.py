"""The tables and the picture of what came of the runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.living.surfaces import FAMILIES
from benchmarks.living.world import Trace
from optimizer.space import Array

Runs = Mapping[str, Mapping[str, Sequence[Trace]]]
ALONE = "leave it alone"


def summary(runs: Runs) -> str:
    """Means over families of means over seeds; the worst window is each run's own, over leaving it alone."""
    head = (
        "policy", "average regret", "final", "worst window", "harmful kept", "false claims a verified change",
        "claims", "proposals", "replays",
    )  # fmt: skip
    rows = [head, ("---",) * len(head)]
    for policy, families in runs.items():
        every = [one for traces in families.values() for one in traces]
        verified = sum(one.verified for one in every)
        rows.append(
            (
                policy,
                f"{np.mean([one.regret for one in every]):z.3f}",
                f"{np.mean([one.final for one in every]):z.3f}",
                f"{np.mean([worst(runs, policy, family).mean() for family in families]):+.3f}",
                f"{np.mean([one.harmful for one in every]):.2f}",
                f"{sum(one.false_claims for one in every) / verified:.3f}" if verified else "",
                f"{np.mean([one.claims for one in every]):.2f}",
                f"{np.mean([one.proposals for one in every]):.1f}",
                f"{np.mean([one.replays for one in every]):.0f}",
            )
        )
    return _table(rows)


def by_family(runs: Runs) -> str:
    """Average regret, and proposals behind it, of each policy on each family."""
    rows: list[Sequence[str]] = [("policy", *FAMILIES), ("---",) * (1 + len(FAMILIES))]
    for policy, families in runs.items():
        regret = [np.mean([one.regret for one in traces]) for traces in families.values()]
        asked = [np.mean([one.proposals for one in traces]) for traces in families.values()]
        rows.append(
            (policy, *(f"{one:z.3f} ({count:.1f})" for one, count in zip(regret, asked, strict=True)))
        )
    return _table(rows)


def worst(runs: Runs, policy: str, family: str) -> Array:
    """Of each run, the most by which a window was worse than the same window left alone."""
    alone = np.array([one.regret for one in runs[ALONE][family]])
    return np.asarray((np.array([one.regret for one in runs[policy][family]]) - alone).max(axis=1))


def plot(runs: Runs, file: Path) -> None:
    """Regret over the windows, a line for each policy, a panel for each family."""
    from matplotlib import pyplot  # noqa: PLC0415 (takes a second, and is seldom asked for)

    figure, axes = pyplot.subplots(2, 4, figsize=(14, 7), sharex=True, sharey=True)
    for axis, family in zip(axes.flat, FAMILIES, strict=True):
        for policy, families in runs.items():
            mean = np.mean([one.regret for one in families[family]], axis=0)
            axis.plot(mean, label=policy, linewidth=2.5 if policy.startswith("the design") else 1)
        axis.set_title(family)
    for axis in axes[-1]:
        axis.set_xlabel("window of 40 tasks")
    for axis in axes[:, 0]:
        axis.set_ylabel("regret")
    axes[0, 0].set_ylim(0, 0.4)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.savefig(file, dpi=80)


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
