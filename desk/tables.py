"""What the image tells, as tables for a notebook."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from connection.problems import Problem
from desk.writing import save_csv
from messages.image import Amendment, HistoryEntry, Means
from messages.loops import Change
from messages.tasks import PerformanceLog
from messages.verification import Verified

_WHEN, _WHO = ["amendment", "revision", "decided_at", "state"], ["source", "loop_id", "decided_by"]
FIRST = [*_WHEN, *Change.model_fields, *_WHO]
"""What a person looks for first, and then whatever else an amendment has."""


class Table(NamedTuple):
    heads: list[str]
    rows: list[dict[str, Any]]


def save_table(file: Path, table: Table, as_json: bool) -> None:
    """Raises Problem."""
    if as_json:
        raise Problem("--csv and --json exclude each other. Choose one")
    save_csv(file, table.heads, table.rows)


def log_table(window: Sequence[PerformanceLog]) -> Table:
    """A row for each log; its heuristics by the keys of settings.toml."""
    rows = [{**log.model_dump(exclude={"active_heuristics"}), **log.active_heuristics} for log in window]
    heads = [name for name in PerformanceLog.model_fields if name != "active_heuristics"]
    return Table([*dict.fromkeys([*heads, *(key for log in window for key in log.active_heuristics)])], rows)


def history_table(entries: Sequence[HistoryEntry]) -> Table:
    """A row for each changed key, numbered by amendment; and one for an amendment that changed none."""
    own = [name for name in Amendment.model_fields if name not in ("changes", "verified")]
    heads = [*dict.fromkeys([*FIRST, *own])]
    heads += [f"{part}_{name}" for part in ("before", "after") for name in Means.model_fields]
    heads += [f"verified_{name}" for name in Verified.model_fields]
    rows = []
    for number, entry in enumerate(entries, 1):
        amended = entry.amendment
        told = {"amendment": number, **amended.model_dump(include=set(own))}
        parts = {"before": entry.before, "after": entry.after, "verified": amended.verified}
        for part, figures in parts.items():
            told |= {f"{part}_{name}": value for name, value in figures or ()}
        rows += [{**told, **dict(change)} for change in amended.changes] or [told]
    return Table(heads, rows)
