"""How the image verifies a change: which task runs under which settings, and what came of it. Pure.

Of constant size: a block of two tasks leaves nothing behind but what `optimizer/verdict.py` has added up.
"""

import hashlib
from datetime import datetime

from pydantic import BaseModel

from configuration import InvalidSettings, Settings
from messages.common import Arm
from messages.loops import Change, Proposal
from messages.names import REVERSAL
from messages.tasks import PerformanceLog
from messages.trials import Effect
from messages.verification import (
    REVERSED,
    VERDICTS,
    Looking,
    VerificationView,
    Verified,
    gain_in_words,
)
from optimizer.goals import Goals
from optimizer.verdict import GUARDRAIL_AT, HARM_AT, Watch, difference, levels, look_at, normal_posterior

MOST_ASKED = 2
"""How often the way back is proposed where nobody answers."""
END_IT = "python starter.py verification --accept (or --revert) ends it"


class Half(BaseModel):
    """What one task of a block came to. `loss`: without what its type of task adds; None: not measured."""

    arm: Arm
    loss: float | None = None
    failed: bool = False


class Verification(BaseModel):
    """One change under verification, and what became of it.

    loop_id, revision   whose change it is, and the revision that it made
    by_person           a person's edit: its harm is told, but nothing runs under other values than the file's
    expected            what was expected of it, by the posterior
    effects             of the types of task, fixed when it began
    first_block, halves the number of its first block, and the ended tasks whose block is not whole
    given               the place of a block that the next task takes
    reversal, asked     the loop that asks for the way back, and how many have
    pinned              tasks run under the old values though settings.toml has the new ones
    settled             nothing more will come of it
    noted               its verdict is in the ledger
    """

    loop_id: str
    revision: int
    changes: list[Change]
    by_person: bool
    since: datetime
    ends_at: datetime
    expected: Effect
    effects: dict[str, float] = {}
    watch: Watch
    first_block: int
    given: tuple[int, Arm] | None = None
    halves: dict[int, Half] = {}
    reversal: str = ""
    asked: int = 0
    pinned: bool = False
    settled: bool = False
    noted: bool = False
    ended_by: str = ""
    comment: str = ""

    @property
    def is_running(self) -> bool:
        return self.watch.verdict is None

    # --- its tasks ---

    def place(self, next_block: int) -> tuple[int, Arm]:
        """The block and the arm of the next task. `next_block`: the number of a new one."""
        if self.given is not None:
            place, self.given = self.given, None
            return place
        # By chance, and yet on record: which of the two comes first follows from the name of the change.
        coin = hashlib.sha256(f"{self.loop_id} {self.revision} {next_block}".encode()).digest()[0] % 2
        arms: tuple[Arm, Arm] = ("old", "new")
        self.given = next_block, arms[coin]
        return next_block, arms[1 - coin]

    def settings_of(self, arm: Arm | None, settings: Settings) -> Settings:
        """Those of one arm; without one the present settings, or the old values where it is pinned."""
        if arm == "old" or (arm is None and self.pinned):
            return settings.with_changes({change.key: change.old for change in self.changes})
        return settings

    def end_half(self, block: int, half: Half) -> None:
        """A task of a block has ended; with the other one the block counts."""
        if not self.is_running or block < self.first_block:
            return
        other = self.halves.pop(block, None)
        if other is None:
            self.halves[block] = half
            return
        old, new = (half, other) if half.arm == "old" else (other, half)
        if old.failed != new.failed:
            self.watch.guard("failures", -1.0 if new.failed else 1.0)
        elif old.loss is not None and new.loss is not None:
            self.watch.add(difference(old.loss, new.loss))

    def forget_halves(self, alive: set[int]) -> None:
        """Leave out halves whose other task is gone. `alive`: the blocks of running tasks."""
        waited_for = alive | ({self.given[0]} if self.given else set())
        self.halves = {block: half for block, half in self.halves.items() if block in waited_for}

    def rate(self, arm: Arm, rating: float, earlier: float | None) -> None:
        """A person's opinion counts on the side of its task, above or below the middle."""
        sign = 1 if arm == "new" else -1
        if earlier is not None:
            self.watch.guard("ratings", sign * (earlier - 0.5), -1)
        self.watch.guard("ratings", sign * (rating - 0.5))

    # --- its end ---

    def close_if_due(self, now: datetime) -> None:
        if self.is_running and now >= self.ends_at:
            self.watch.close()

    def look_due(self) -> Looking | None:
        """What the next look is to be taken at, if one is due."""
        if not (self.is_running and self.watch.due):
            return None
        return Looking(differences=self.watch.due[0], expected=self.expected)

    def supersede(self) -> None:
        """Its values do not hold any more. A verdict that is there stays."""
        self.watch.verdict = self.watch.verdict or "superseded"
        self.settle()

    def settle(self, by: str = "", comment: str = "") -> None:
        self.settled, self.pinned, self.reversal = True, False, ""
        self.ended_by, self.comment = by or self.ended_by, comment or self.comment

    def note_verdict(self) -> None:
        """What a verdict means for the tasks to come."""
        self.noted = True
        if self.watch.verdict not in REVERSED:
            self.settle()
        self.pinned = self.watch.verdict == "harmful" and not self.by_person and not self.settled

    def has_a_way_back(self, settings: Settings) -> bool:
        """Whether the values of before could hold again: a rule of today may forbid them."""
        try:
            self.settings_of("old", settings)
        except InvalidSettings:
            return False
        return True

    def holds(self, settings: Settings) -> bool:
        """Whether the values that it verifies hold."""
        now = settings.flat()
        return all(now.get(change.key) == change.new for change in self.changes)

    @property
    def wants_reversal(self) -> bool:
        return (
            self.watch.verdict in REVERSED
            and not self.settled
            and not self.reversal
            and self.asked < MOST_ASKED
        )

    def note_reversal_ended(self, state: str, by: str, comment: str) -> None:
        """The loop that asked for the way back has ended. Where it was approved, the settings will tell."""
        self.reversal, self.ended_by, self.comment = "", by, comment
        if state == "rejected" or (self.asked >= MOST_ASKED and not self.pinned):
            self.settle()

    # --- views ---

    def proposal(self) -> Proposal:
        """The way back to the exact values of before, and why."""
        watch = self.watch
        look = look_at(watch.differences, normal_posterior(self.expected))
        found = gain_in_words(look.blocks, look if look.blocks > 1 else None)
        told = VERDICTS[watch.verdict or "no_difference"]
        return Proposal(
            source=REVERSAL,
            changes=[Change(key=each.key, old=each.new, new=each.old) for each in self.changes],
            justification=f"{self.loop_id} was verified: {told}. {found}.",
            expected_effect="The exact values of before hold again.",
            evidence={
                "verdict": watch.verdict,
                "blocks": look.blocks,
                "gain of the change": round(look.gain, 3),
                "gain, 90% from": round(look.low, 3),
                "gain, 90% to": round(look.high, 3),
                "probability that it helps, by this and what was known before": round(look.better, 3),
                "e-value of harm": round(watch.harm.value, 2),
                **{f"e-value of {what}": round(bets.value, 2) for what, bets in watch.guardrails.items()},
            },
        )

    def verified(self) -> Verified | None:
        """What the ledger keeps; None while there is no verdict."""
        if self.watch.verdict is None:
            return None
        seen = self.watch.differences
        look = look_at(seen, normal_posterior(self.expected)) if seen.n > 1 else None
        return Verified(
            verdict=self.watch.verdict,
            blocks=seen.n,
            gain=look and round(look.gain, 4),
            low=look and round(look.low, 4),
            high=look and round(look.high, 4),
            ended_by=self.ended_by,
        )

    def standing(self) -> str:
        """How it stands, in a sentence of computed figures."""
        watch = self.watch
        look = look_at(watch.differences, normal_posterior(self.expected))
        found = gain_in_words(look.blocks, look if look.blocks > 1 else None)
        if watch.verdict is None:
            to_come = ", ".join(map(str, watch.looks_to_come()))
            return f"{found}, better with probability {look.better:.2f}; looks after {to_come} blocks to come"
        told = f"{watch.verdict}: {VERDICTS[watch.verdict]}; {found}"
        if self.pinned:
            told += "; tasks run under the old values, although settings.toml has the new ones"
        if self.reversal:
            told += f"; {self.reversal} asks a person for the way back"
        elif not self.settled and self.asked >= MOST_ASKED:
            told += f"; nobody answered when it was proposed to go back; {END_IT}"
        if self.ended_by:
            told += f"; ended by {self.ended_by}"
        return told


class Verifying(BaseModel):
    """The change under verification or the last one; of all that were `verified`, `claims` improved."""

    current: Verification | None = None
    next_block: int = 0
    verified: int = 0
    claims: int = 0

    @property
    def open(self) -> Verification | None:
        """The verification of which something may still come."""
        return self.current if self.current and not self.current.settled else None

    def place(self) -> tuple[int, Arm] | None:
        """The block and the arm of the next task; None where nothing is compared."""
        current = self.open
        if current is None or not current.is_running:
            return None
        block, arm = current.place(self.next_block)
        self.next_block = max(self.next_block, block + 1)
        return block, arm

    def settings_of(self, arm: Arm | None, settings: Settings) -> Settings:
        try:
            return self.open.settings_of(arm, settings) if self.open else settings
        except InvalidSettings:
            # An edit has just forbidden the old values; that ends the verification at the image's next look.
            return settings

    def sides(self, settings: Settings) -> list[Settings]:
        """The settings that tasks may have: the present ones, and the old ones of a comparison."""
        return [settings, *([self.settings_of("old", settings)] if self.open else [])]

    def end_task(self, block: int, arm: Arm, log: PerformanceLog, settings: Settings) -> None:
        """A task that had a place has ended."""
        if self.open is None:
            return
        measured = log.outcome != "failed" and log.final_dissonance is not None
        tokens = log.tokens_in + log.tokens_out
        loss = Goals.of(settings).loss(log.final_dissonance or 0.0, tokens)
        corrected = loss - self.open.effects.get(log.task_type, 0.0) if measured else None
        self.open.end_half(block, Half(arm=arm, loss=corrected, failed=log.outcome == "failed"))

    def why_not_reflect(self) -> str:
        """Why nothing else is proposed now, or nothing."""
        current = self.open
        if current is None:
            return ""
        return f"{current.loop_id} is being verified, and nothing else is tried: {current.standing()}"

    def view(self) -> VerificationView | None:
        current = self.current
        if current is None:
            return None
        watch = current.watch
        look = look_at(watch.differences, normal_posterior(current.expected))
        told = look.blocks > 1
        return VerificationView(
            loop_id=current.loop_id,
            revision=current.revision,
            by_person=current.by_person,
            changes=current.changes,
            since=current.since,
            ends_at=current.ends_at,
            cap=watch.cap,
            blocks=look.blocks,
            effect=look.gain if told else None,
            interval=(look.low, look.high) if told else None,
            better=look.better,
            harm=watch.harm.value,
            harm_at=HARM_AT,
            guardrails={what: bets.value for what, bets in watch.guardrails.items()},
            guardrail_at=GUARDRAIL_AT,
            looks=watch.looks,
            looks_to_come=watch.looks_to_come(),
            levels=levels(watch.cap),
            verdict=watch.verdict,
            ended_by=current.ended_by,
            comment=current.comment,
            reversal=current.reversal,
            pinned=current.pinned,
            settled=current.settled,
            standing=current.standing(),
            claims=self.claims,
            verified=self.verified,
        )
