"""The table that the optimizer learns from: how arguments went under which values and conditions. Pure.

No argument is forgotten in silence: what no longer fits is merged into coarser rows, and what must go even
then is counted.
"""

import hashlib
from collections.abc import Callable, Iterable

from pydantic import BaseModel
from pydantic_core import to_json

from configuration import Settings, Value
from messages.tasks import PerformanceLog
from messages.trials import Moments, Observation
from workflows.bounded import size_of

TABLE_BYTES = 20 * 1024
BATCH = 40
"""Measured arguments of one batch: what ran at about the same time shares what nobody wrote down."""
MOST_TYPES = 4
OTHER = "other"
"""The type of task that stands for all those for which a row has no place."""
MIXED = "mixed"
"""The conditions of a row that was merged from several."""
# Values that no row needs yet are those of tasks that run.
MOST_AWAITED = 2


def values_at(settings: Settings) -> dict[str, Value]:
    """What the optimizer may vary, as it stands in these settings."""
    return settings.tuned()


class Observing(BaseModel):
    """What was observed. At most 20 KiB of JSON.

    rows        oldest first, without their values
    values      of each settings digest: the values of what may be tuned
    batch       the number of the present batch, `measured` of whose arguments are in
    left        arguments that left the table
    """

    rows: list[Observation] = []
    values: dict[str, dict[str, Value]] = {}
    batch: int = 0
    measured: int = 0
    next_batch: int = 1
    left: int = 0

    def table(self) -> list[Observation]:
        return [row.model_copy(update={"values": self.values.get(row.digest, {})}) for row in self.rows]

    def pin(self, digest: str, values: dict[str, Value]) -> None:
        """Remember the values under which a task starts: its log has only the heuristics."""
        self.values.pop(digest, None)
        self.values[digest] = values
        self._bound()

    def add(self, log: PerformanceLog) -> str:
        """Count an argument; what is returned names its row to `rate`."""
        digest = log.settings_digest or _digest_of(log.active_heuristics)
        if not self.values.get(digest):
            self.values[digest] = log.active_heuristics
        row = self._row(digest, log)
        _count(row, log)
        name = f"{digest} {log.conditions} {row.batch}"
        self.measured += log.outcome != "failed" and log.final_dissonance is not None
        if self.measured >= BATCH:
            self.batch, self.measured = self._new_batch(), 0
        self._bound()
        return name

    def add_rows(self, rows: Iterable[Observation]) -> None:
        """Rows from elsewhere, as of trials; each batch among them becomes one of this table's.

        They come with a signal, which anybody may send: figures that no argument has are passed over.
        """
        numbers: dict[int, int] = {}
        for row in filter(_is_possible, rows):
            if row.batch not in numbers:
                numbers[row.batch] = self._new_batch()
            if row.values:
                self.values[row.digest] = row.values
            added = Observation(
                digest=row.digest, conditions=row.conditions, batch=numbers[row.batch], paired=row.paired
            )
            _merge(added, row)
            self.rows.append(added)
        self._bound()

    def rate(self, name: str, rating: float, earlier: float | None) -> None:
        """Count a person's opinion, instead of an earlier one, in the row of an argument if that is left."""
        digest, conditions, batch = name.rsplit(" ", 2)
        # Rows of equal settings and conditions merge into the next one, so this is where it went.
        same = [row for row in self.rows if (row.digest, row.conditions) == (digest, conditions)]
        row = min((row for row in same if row.batch >= int(batch)), key=lambda row: row.batch, default=None)
        if row is None:
            return
        if earlier is not None:
            row.rating.remove(earlier)
        row.rating.add(rating)
        self._bound()

    def _row(self, digest: str, log: PerformanceLog) -> Observation:
        key = (digest, log.conditions, self.batch)
        for row in reversed(self.rows):
            if (row.digest, row.conditions, row.batch) == key:
                return row
        row = Observation(digest=digest, conditions=log.conditions, batch=self.batch, since=log.finished_at)
        self.rows.append(row)
        return row

    def _new_batch(self) -> int:
        self.next_batch += 1
        return self.next_batch - 1

    # --- bounds ---

    def _bound(self) -> None:
        needed = {row.digest for row in self.rows}
        awaited = [digest for digest in self.values if digest not in needed]
        for digest in awaited[:-MOST_AWAITED]:
            del self.values[digest]
        while size_of(self) > TABLE_BYTES and self._shrink():
            pass

    def _shrink(self) -> bool:
        """Lose a little detail, the least valuable first. False when there is nothing left to lose."""
        told = (row.conditions for row in reversed(self.rows) if row.conditions not in ("", MIXED))
        present = next(told, "")
        return (
            self._merge_oldest(lambda row: (row.digest, row.conditions) if row.batch != self.batch else None)
            or self._merge_oldest(lambda row: (row.digest,) if row.conditions != present else None)
            or self._merge_oldest(lambda row: (row.digest, row.conditions))
            or self._drop_oldest()
        )

    def _merge_oldest(self, kind_of: Callable[[Observation], tuple[str, ...] | None]) -> bool:
        """Merge the oldest row of a kind into the next of it. False where no kind has two rows."""
        oldest: dict[tuple[str, ...], Observation] = {}
        for row in self.rows:
            kind = kind_of(row)
            if kind is None:
                continue
            if (older := oldest.setdefault(kind, row)) is not row:
                row.conditions = row.conditions if row.conditions == older.conditions else MIXED
                row.paired = row.paired and row.batch == older.batch
                _merge(row, older)
                self.rows = [each for each in self.rows if each is not older]
                return True
        return False

    def _drop_oldest(self) -> bool:
        if self.rows:
            self.left += _arguments(self.rows.pop(0))
        elif self.values:
            del self.values[next(iter(self.values))]
        else:
            return False
        needed = {row.digest for row in self.rows}
        self.values = {digest: values for digest, values in self.values.items() if digest in needed}
        return True


def _count(row: Observation, log: PerformanceLog) -> None:
    if log.rating is not None:
        row.rating.add(log.rating)
    if log.outcome == "failed":
        row.failed += 1
    elif log.final_dissonance is None:
        row.unmeasured += 1
    else:
        _add(row.dissonance, log.task_type, Moments(n=1, mean=log.final_dissonance))
        _add(row.tokens, log.task_type, Moments(n=1, mean=log.tokens_in + log.tokens_out))
        row.seconds.add(log.seconds)


def _is_possible(row: Observation) -> bool:
    """Whether its figures can be added up for ever, and still are numbers that JSON has."""
    figures = [*row.dissonance.values(), *row.tokens.values(), row.seconds, row.rating]
    return all(
        0 <= each.n <= 10**6 and abs(each.mean) <= 10**13 and 0 <= each.m2 <= 10**32 for each in figures
    )


def _merge(row: Observation, other: Observation) -> None:
    for figures, others in ((row.dissonance, other.dissonance), (row.tokens, other.tokens)):
        for task_type, moments in others.items():
            _add(figures, task_type, moments)
    row.seconds.merge(other.seconds)
    row.rating.merge(other.rating)
    row.failed += other.failed
    row.unmeasured += other.unmeasured
    row.since = min(filter(None, (row.since, other.since)), default=None)


def _add(figures: dict[str, Moments], task_type: str, moments: Moments) -> None:
    has_place = task_type in figures or len(figures) < MOST_TYPES
    figures.setdefault(task_type if has_place else OTHER, Moments()).merge(moments)


def _arguments(row: Observation) -> int:
    return row.failed + row.unmeasured + sum(moments.n for moments in row.dissonance.values())


def _digest_of(heuristics: dict[str, Value]) -> str:
    """Names the values of a log that tells no digest; nothing for one that tells no values either."""
    told = to_json(dict(sorted(heuristics.items())))
    return hashlib.sha256(told).hexdigest()[:12] if heuristics else ""
