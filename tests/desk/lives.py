"""Lives that nobody lived, for the page that tells of one: newborn, long, and full of hostile words.

python -m tests.desk.lives FILE.html [TASKS]
"""

import random
import sys
import time
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from configuration import Settings
from desk.report.lived import Argument, Found, Life, Spent
from messages.image import Amendment
from messages.loops import Change, ProposalView
from messages.tasks import PerformanceLog
from messages.trials import Candidate, Effect, Judged, Replay, Round
from messages.verification import Verified
from optimizer.verdict import Watch, normal_posterior
from testbed.world import SETTINGS
from workflows.image_state import ImageState
from workflows.ledger import CONDITIONS_CHANGED, Ledger
from workflows.verification import Verification

BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)
EVERY = timedelta(hours=3)
KEY = "autopoiesis.max_turns"
EXPECTED = Effect(gain=0.03, low=-0.01, high=0.07, better=0.9, worse=0.02)


def newborn() -> Life:
    """An image in which nothing has happened."""
    settings = Settings.parse(tomllib.loads(SETTINGS.read_text()))
    state = ImageState(image_id="newborn", started_at=BEGIN, ledger=Ledger(settings=settings))
    return Life(state=state, ended="", written_at=BEGIN)


def lived(tasks: int, said: str = "said", left_out: int = 0) -> Life:
    """A life with all that a page can tell of; `said` stands wherever somebody may say anything.

    Of the first `left_out` tasks only the table of observations knows.
    """
    chance = random.Random(7)
    state = newborn().state.model_copy(update={"image_id": "made-up"})
    logs = [log(chance, state.settings, number) for number in range(tasks)]
    for each in logs:
        state.record_log(each)
    state.finished_count = tasks
    until = BEGIN + EVERY * (tasks + 1)
    entries = [entry(number, BEGIN + (until - BEGIN) * number / 7, said) for number in range(1, 7)]
    state.ledger.amendments = entries
    state.ledger.revision, state.next_loop = 4, 6
    state.verifying.current = verification(chance, until, said)
    loops = {f"made-up/loop/{number}": loop(chance, number, said) for number in range(1, 5)}
    return Life(
        state=state,
        ended="",
        written_at=until,
        arguments=[Argument.of(each, each.finished_at or BEGIN, [said]) for each in logs[left_out:]],
        loops=loops,
        spent=[Spent("ALFRED", said, 80, 90_000, 20_000, 310.5), Spent("BRICK", "qwen", 40, 9, 9, 1.0)],
        spent_of=40,
        found=Found(tasks=tasks - left_out, loops_gone=["made-up/loop/5"], loops_silent={"x": said}),
    )


def log(chance: random.Random, settings: Settings, number: int) -> PerformanceLog:
    outcome: Any = chance.choices(["converged", "max_turns", "failed"], [6, 3, 1])[0]
    level: float | None = 0.2 if outcome == "converged" else 0.7
    if level is not None:
        level = min(1.0, max(0.0, chance.gauss(level, 0.1)))
    measured = outcome == "converged" or (outcome == "max_turns" and chance.random() < 0.9)
    return PerformanceLog(
        task_id=f"task-{number}",
        final_dissonance=level if measured else None,
        turn_count=0 if outcome == "failed" else chance.randint(1, 4),
        outcome=outcome,
        settings_digest=settings.digest(),
        active_heuristics=settings.heuristics(),
        tokens_in=chance.randint(2_000, 9_000),
        tokens_out=chance.randint(300, 1_500),
        seconds=chance.uniform(5, 60),
        origin="person",
        finished_at=BEGIN + EVERY * (number + 1),
        conditions="0123456789ab",
    )


def entry(number: int, at: datetime, said: str) -> Amendment:
    """The n-th of six entries, each of another kind."""
    states: Any = ["approved", "approved", "adopted", "rejected", "no_proposal", "adopted"]
    state = states[number - 1]
    changes = [Change(key=KEY, old=number, new=number + 1)] if number < 5 else []
    told: dict[str, Any] = {"digest_before": "0" * 12, "digest": "0" * 12}
    if number < 4:
        told["digest"] = f"{number}" * 12
    if number == 1:
        told["verified"] = Verified(verdict="no_difference", blocks=20, gain=0.004, low=-0.02, high=0.03)
    if number == 6:
        told |= {"conditions_before": "0123456789ab", "conditions": "ba9876543210"}
    return Amendment(
        revision=min(number + 1, 4),
        state=state,
        changes=changes,
        source="person" if state == "adopted" else "surrogate",
        justification=CONDITIONS_CHANGED if number == 6 else said,
        loop_id=None if state == "adopted" else f"made-up/loop/{number}",
        decided_by=said[:80] if changes else "",
        comment=said[:400],
        reason=said,
        decided_at=at,
        **told,
    )


def verification(chance: random.Random, at: datetime, said: str) -> Verification:
    """One under way, past its first look."""
    watch = Watch(cap=20)
    for _ in range(7):
        watch.add(chance.uniform(-0.3, 0.3), normal_posterior(EXPECTED))
    return Verification(
        loop_id="made-up/loop/2",
        revision=3,
        changes=[Change(key="models.brick", old="qwen", new=said)],
        by_person=False,
        since=at,
        ends_at=at,
        expected=EXPECTED,
        watch=watch,
        first_block=0,
    )


def loop(chance: random.Random, number: int, said: str) -> ProposalView:
    """A loop with one round of trials of two candidates, and what was found in them."""
    candidates = [Candidate(values={KEY: 3}), Candidate(values={"models.brick": said}, source="creator")]
    replays = [
        Replay(
            task_id=f"task-{task}",
            arm=arm,
            outcome="failed" if (task, arm) == (0, 2) else "max_turns",
            dissonance=None if (task, arm) == (0, 2) else chance.random(),
            tokens=chance.randint(2_000, 9_000),
            seconds=chance.uniform(5, 60),
        )
        for task in range(6)
        for arm in range(3)
    ]
    return ProposalView(
        loop_id=f"made-up/loop/{number}",
        state="approved" if number < 3 else "rejected",
        changes=[
            Change(key=KEY, old=number, new=number + 1),
            Change(key="custom.x.value", old="a", new=said),
        ],
        justification=said,
        effect=EXPECTED,
        rounds=[Round(candidates=candidates, replays=replays)],
        judged=Judged(model=said, wins=3, ties=2, losses=1, matched_wins=1),
        single=Judged(model=said, wins=2, ties=2, losses=2),
        not_evaluated=[said],
        trial_tokens=90_000 + number,
        decided_by=said[:80],
        comment=said[:400],
        decided_at=BEGIN + EVERY * number,
    )


def main() -> None:
    from desk.report.page import page_of

    file, tasks = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200
    life = lived(tasks)
    begun = time.perf_counter()
    page = page_of(life).encode()
    file.write_bytes(page)
    print(f"{tasks} tasks: {time.perf_counter() - begun:.1f} s, {len(page) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
