"""What must hold after every round, of what was seen from outside. Pure: no Temporal, no files, no clock.

`judge` says what does not hold, a sentence for each violation; nothing where all is well.
"""

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations, pairwise, permutations
from typing import Any

Values = Mapping[str, Any]
ENDED = ("COMPLETED", "FAILED")


@dataclass(frozen=True)
class Loop:
    """A loop that has ended. `said`: what the person decided, or nothing; `changes`: the values it wanted."""

    loop_id: str
    state: str
    changes: Values
    said: str = ""


@dataclass
class Evidence:
    """What was seen. Times never count, only order.

    accepted      the ids of all tasks that the image has taken
    executions    of each workflow of a task on the server: the task's id, Temporal's status
    told          the tasks as the image tells them: id, phase
    counted       how many tasks the image says it has finished, runs and has in its queue
    ratings       of tasks that were rated: what the person said last; `told_ratings`: what the image tells
    window        the ids of the logs in the window
    texts         every text of settings.toml that the reader saw; None: no file
    edits         the person's own changes of the file, in order
    loops         all loops that have ended, by number
    backups       the loop that each kept backup of the file is of, oldest first
    ledger        the loops that the ledger has as approved, oldest first
    snapshots     for each, newest first, why it does not load; empty: it does
    saved         snapshots that the image said it had written and that are not there as they were
    values        all settings, as image, file and ledger have them
    """

    accepted: Sequence[str] = ()
    executions: Sequence[tuple[str, str]] = ()
    told: Sequence[tuple[str, str]] = ()
    counted: int = 0
    ratings: Mapping[str, float] = field(default_factory=dict)
    told_ratings: Mapping[str, float | None] = field(default_factory=dict)
    window: Sequence[str] = ()
    texts: Sequence[str | None] = ()
    edits: Sequence[Values] = ()
    loops: Sequence[Loop] = ()
    backups: Sequence[str] = ()
    ledger: Sequence[str] = ()
    snapshots: Sequence[str] = ()
    saved: Sequence[str] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


def judge(seen: Evidence) -> list[str]:
    """All violations."""
    parts = (_tasks, _opinions, _torn, _decisions, _file, _backups, _ledger, _snapshots, _agreement)
    return [violation for part in parts for violation in part(seen)]


# --- tasks ---


def _tasks(seen: Evidence) -> Iterator[str]:
    """Every accepted task has ended once or is in flight."""
    executions, phases = Counter(task for task, _ in seen.executions), dict(seen.told)
    for task in seen.accepted:
        if not executions[task] and phases.get(task) != "queued":
            yield f"task {task} was accepted and is nowhere"
    for task, times in executions.items():
        if times > 1:
            yield f"task {task} was argued out {times} times"
    for task in {*executions, *phases} - {*seen.accepted}:
        yield f"task {task} was never handed in"
    for task, times in Counter(task for task, _ in seen.told).items():
        if times > 1:
            yield f"the image tells task {task} {times} times"
    if seen.counted != len(seen.accepted):
        yield f"{len(seen.accepted)} tasks were accepted, and the image counts {seen.counted}"
    for task, status in seen.executions:
        yield from _phase(task, status, phases.get(task, "finished"))


def _phase(task: str, status: str, phase: str) -> Iterator[str]:
    """What the image has of a task must be what Temporal has of it."""
    if status not in ("RUNNING", *ENDED):
        yield f"task {task} ended as {status}"
    elif phase != ("running" if status == "RUNNING" else "finished"):
        yield f"task {task} is {status}, and the image has it as {phase}"


def _opinions(seen: Evidence) -> Iterator[str]:
    for task, rating in seen.ratings.items():
        if task in seen.told_ratings and seen.told_ratings[task] != rating:
            yield f"task {task} was rated {rating}, and the image has {seen.told_ratings[task]}"
    for task, times in Counter(seen.window).items():
        if times > 1:
            yield f"the window has the log of {task} {times} times"


# --- settings.toml ---


@cache
def values_of(text: str) -> Values | None:
    """All values of a settings.toml, by dotted key; None where it is none."""
    try:
        return dict(_flat(tomllib.loads(text)))
    except ValueError:
        return None


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@cache
def comments_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("#")]


def _torn(seen: Evidence) -> Iterator[str]:
    """The reader has never seen the file torn: every text is valid, with every comment of the first."""
    for number, text in enumerate(seen.texts):
        if text is None:
            yield f"settings.toml was not there at change {number}"
        elif comments_of(text) != comments_of(seen.texts[0] or "") or values_of(text) is None:
            yield f"settings.toml was torn at change {number}: {len(text)} characters, ends {text[-40:]!r}"


def _decisions(seen: Evidence) -> Iterator[str]:
    """A loop ends as the person has said."""
    for loop in seen.loops:
        if loop.state == "approved" and loop.said != "approve":
            yield f"{loop.loop_id} counts as approved, and the person said {loop.said or 'nothing'}"
        elif loop.state == "rejected" and loop.said != "reject":
            yield f"{loop.loop_id} counts as rejected, and the person said {loop.said or 'nothing'}"
        elif loop.said == "approve" and loop.state not in ("approved", "stale"):
            yield f"{loop.loop_id} was approved, and ended as {loop.state}"
        elif loop.said == "reject" and loop.state != "rejected":
            yield f"{loop.loop_id} was rejected, and ended as {loop.state}"


def _file(seen: Evidence) -> Iterator[str]:
    """The changes of the file are the person's edits and the approved amendments, each once and in order."""
    texts = [values for text in seen.texts if text is not None and (values := values_of(text)) is not None]
    approved = [loop for loop in seen.loops if loop.state == "approved"]
    amendments = [loop.changes for loop in approved]
    # How many edits and how many amendments may have been made by now: some changes are both.
    made = {(0, 0)}
    for number, (before, after) in enumerate(pairwise(texts), 1):
        made |= set(_there_already(before, made, amendments))
        if not (change := difference(before, after)):
            continue
        if then := set(_one_more(before, change, made, seen.edits, amendments)):
            made = then
        else:
            yield f"change {number} of settings.toml was not to come then: {change}{_hint(change, seen)}"
    made |= set(_there_already(texts[-1], made, amendments)) if texts else set()
    edits, loops = max(made, key=sum)
    yield from (f"an edit is not in settings.toml: {dict(edit)}" for edit in seen.edits[edits:])
    yield from (f"{loop.loop_id} is not in settings.toml: {loop.changes}" for loop in approved[loops:])


def _one_more(
    before: Values,
    change: Values,
    made: set[tuple[int, int]],
    edits: Sequence[Values],
    amendments: Sequence[Values],
) -> Iterator[tuple[int, int]]:
    """How many may be made after a change: the next edit, the next amendment, or both seen as one change.

    What was there already is no part of the change: a person may have set by hand what an amendment sets.
    """
    for edit, amendment in made:
        for one, other in ((1, 0), (0, 1), (1, 1)):
            both = [*edits[edit : edit + one], *amendments[amendment : amendment + other]]
            merged = [{**first, **last} for first, last in permutations(both)] if len(both) > 1 else both
            expected = [{key: to for key, to in each.items() if before.get(key) != to} for each in merged]
            if len(both) == one + other and change in expected:
                yield edit + one, amendment + other


def _there_already(
    values: Values, made: set[tuple[int, int]], amendments: Sequence[Values]
) -> Iterator[tuple[int, int]]:
    """How many may be made with no change of the file, since all that the next amendments set is there."""
    for edit, amendment in made:
        for number, change in enumerate(amendments[amendment:], amendment + 1):
            if not _holds(change, values):
                break
            yield edit, number


def _holds(change: Values, values: Values) -> bool:
    return all(values.get(key) == to for key, to in change.items())


def _hint(change: Values, seen: Evidence) -> str:
    wanted = [loop for loop in seen.loops if loop.changes == change]
    return "".join(f"; {loop.loop_id} wanted it, which ended as {loop.state}" for loop in wanted)


def difference(before: Values, after: Values) -> dict[str, Any]:
    """What a change of the file has set; a key that is gone is None."""
    keys = [*before, *(key for key in after if key not in before)]
    return {key: after.get(key) for key in keys if before.get(key) != after.get(key)}


def _backups(seen: Evidence) -> Iterator[str]:
    """The file was rewritten once for each approved amendment that a person had not made by hand."""
    by_hand = {(key, to) for edit in seen.edits for key, to in edit.items()}
    approved = [
        loop.loop_id
        for loop in seen.loops
        if loop.state == "approved"
        and (loop.loop_id in seen.backups or not by_hand.issuperset(loop.changes.items()))
    ]
    latest = approved[-len(seen.backups) :] if seen.backups else []
    if list(seen.backups) != latest:
        yield f"the backups are those of {list(seen.backups)[-5:]}; approved were {latest[-5:]}"
    if approved and not seen.backups:
        yield f"{len(approved)} amendments were approved, and there is no backup"


def _ledger(seen: Evidence) -> Iterator[str]:
    approved = [loop.loop_id for loop in seen.loops if loop.state == "approved"]
    latest = approved[-len(seen.ledger) :] if seen.ledger else []
    if list(seen.ledger) != latest:
        yield f"the ledger has {list(seen.ledger)[-5:]} as approved; approved were {latest[-5:]}"
    if approved and not seen.ledger:
        yield f"{len(approved)} amendments were approved, and the ledger has none"


# --- snapshots, and what all agree on ---


def _snapshots(seen: Evidence) -> Iterator[str]:
    if seen.snapshots and all(seen.snapshots[:2]):
        yield f"neither the newest snapshot loads nor the one before it: {list(seen.snapshots[:2])}"
    yield from seen.saved


def _agreement(seen: Evidence) -> Iterator[str]:
    """Settings in image, file and ledger agree."""
    for (one, ours), (other, theirs) in combinations(seen.values.items(), 2):
        if ours != theirs:
            yield f"the settings differ between {one} and {other}: {ours} and {theirs}"
