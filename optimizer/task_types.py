"""By how much each type of task is harder than the mean, whatever the settings. Standard library only."""

from collections.abc import Iterable, Mapping

from messages.trials import Moments

# A type that was seen less often than this tells more noise than difference.
_PRIOR_WEIGHT = 10
_SWEEPS = 5


def type_effects(rows: Iterable[Mapping[str, Moments]]) -> dict[str, float]:
    """Effects of the types of task, by backfitting, shrunk towards 0 (Buja, Hastie, Tibshirani 1989).

    Only what differs within a row counts: whether easy tasks met better settings does not.
    """
    table = [{name: (one.n, one.mean) for name, one in row.items() if one.n} for row in rows]
    table = [row for row in table if len(row) > 1]
    effects = {name: 0.0 for row in table for name in row}
    for _ in range(_SWEEPS):
        told = dict.fromkeys(effects, 0.0)
        weight = dict.fromkeys(effects, float(_PRIOR_WEIGHT))
        for row in table:
            level = _level(row, effects)
            for name, (n, mean) in row.items():
                told[name] += n * (mean - level)
                weight[name] += n
        effects = {name: told[name] / weight[name] for name in effects}
    return effects


def corrected_mean(row: Mapping[str, Moments], effects: Mapping[str, float]) -> float:
    """The mean of a row, without what the mix of its types adds to it."""
    return _level({name: (one.n, one.mean) for name, one in row.items()}, effects)


def _level(row: Mapping[str, tuple[int, float]], effects: Mapping[str, float]) -> float:
    count, total = 0, 0.0
    for name, (n, mean) in row.items():
        count += n
        total += n * (mean - effects.get(name, 0.0))
    return total / count
