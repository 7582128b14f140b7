"""How the image lives with a change under verification: begins it, ends it, asks for the way back."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from messages.image import Amendment
    from messages.loops import Proposal
    from messages.requests import EndVerification, VerifySettings
    from messages.trials import Effect
    from messages.verification import Looking
    from optimizer.task_types import type_effects
    from optimizer.verdict import USUAL, Watch, look_at, normal_posterior
    from workflows.alarm import LONG_AGO, WHAT_RANG_IS_DUE
    from workflows.bounded import size_of
    from workflows.image_state import ImageState
    from workflows.measuring import measure_verdict
    from workflows.messaging import refuse
    from workflows.orders import thinking
    from workflows.verification import Verification

MOST_EFFECTS = 8
MOST_BYTES = 2 * 1024
"""Of what a change that is verified may take: the image carries it for as long as that lasts."""

OpenLoop = Callable[[str, Proposal, bool], Coroutine[Any, Any, str]]
"""Starts a loop for a reason, with a proposal that is there already; the last says whether it is urgent."""


def begin(
    state: ImageState, entry: Amendment, now: datetime, *, expected: Effect | None = None, mine: bool = True
) -> None:
    """Verify what an entry of the ledger has changed. `mine`: by a loop of the image."""
    options = state.settings.optimizer
    if not options.verify_blocks:
        return
    tunables = state.settings.tunables()
    state.verifying.current = Verification(
        loop_id=entry.loop_id or f"{state.image_id} revision {entry.revision}",
        revision=entry.revision,
        changes=[change for change in entry.changes if change.key in tunables],
        by_person=not mine,
        since=now,
        ends_at=now + options.verify_within,
        expected=expected or USUAL,
        effects=_effects(state),
        watch=Watch(cap=options.verify_blocks),
        first_block=state.verifying.next_block,
    )


def _effects(state: ImageState) -> dict[str, float]:
    """Those of the types of task that were seen most."""
    rows = [row.dissonance for row in state.observing.rows]
    seen = Counter({name: sum(row[name].n for row in rows if name in row) for row in rows for name in row})
    effects = type_effects(rows)
    return {name: effects[name] for name, _ in seen.most_common(MOST_EFFECTS) if name in effects}


class Verifier:
    """Acts for one run of the image on the state it is given; `wake` makes the image look again."""

    def __init__(self, state: ImageState, open_loop: OpenLoop, wake: Callable[[], None]) -> None:
        self._state = state
        self._open_loop = open_loop
        self._wake = wake
        self._deadline: asyncio.Task[None] | None = None
        self._deadline_of: Verification | None = None
        self._rung_for = LONG_AGO
        self._looking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Act on what has come to be known since the last time."""
        current, ledger = self._state.verifying.open, self._state.ledger
        if current is None:
            self._await_deadline(None)
            return
        self._note_how_the_reversal_ended(current)
        edited = ledger.latest_change("approved", "adopted", since=current.revision)
        if not current.has_a_way_back(self._state.settings) or (current.is_running and edited):
            current.supersede()
        elif not current.is_running and not current.holds(self._state.settings):
            current.settle()
        current.close_if_due(max(workflow.now(), self._rung_for))
        self._look_if_due(current)
        running = {task.block for task in self._state.running if task.block is not None}
        current.forget_halves(running | self._state.assigning.blocks())
        self._note_verdict(current)
        self._await_deadline(current if current.is_running else None)
        may_ask = self._state.phase in ("active", "paused") and not self._state.open_loops
        if current.wants_reversal and may_ask:
            await self._ask_for_the_way_back(current)

    def _look_if_due(self, current: Verification) -> None:
        """Let an activity look while tasks go on: what it found is on record, and no replay computes it."""
        due = current.look_due()
        if due is None or (self._looking is not None and not self._looking.done()):
            return
        if workflow.patched("look-by-activity"):
            self._looking = asyncio.create_task(self._take_look(current, due))
            return
        while due := current.look_due():
            current.watch.take(look_at(due.differences, normal_posterior(due.expected)))

    async def _take_look(self, current: Verification, due: Looking) -> None:
        current.watch.take(await thinking.look_at_change(due))
        self._wake()

    def _await_deadline(self, running: Verification | None) -> None:
        """One timer for the whole of it: the image's own alarm would set it anew with every task."""
        if self._deadline_of is running:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline_of = running
        self._deadline = asyncio.create_task(self._ring_at(running.ends_at)) if running else None

    async def _ring_at(self, at: datetime) -> None:
        pause = max(at - workflow.now(), timedelta(0))
        await workflow.sleep(pause, summary="Until the verification ends")
        if workflow.patched(WHAT_RANG_IS_DUE):
            self._rung_for = at
        self._wake()

    async def _ask_for_the_way_back(self, current: Verification) -> None:
        urgent = current.watch.verdict == "harmful"
        reason = f"{current.loop_id} has not helped"
        current.reversal = await self._open_loop(reason, current.proposal(), urgent)
        current.asked += 1

    def _note_how_the_reversal_ended(self, current: Verification) -> None:
        if not current.reversal or current.reversal in self._state.open_loops:
            return
        ledger = self._state.ledger.amendments
        entry = next((entry for entry in reversed(ledger) if entry.loop_id == current.reversal), None)
        if entry is None:
            # A restored image: its loops are gone, and nobody has been asked.
            current.reversal, current.asked = "", current.asked - 1
        else:
            current.note_reversal_ended(entry.state, entry.decided_by, entry.comment)

    # --- a person's orders ---

    def verify_edit(self, request: VerifySettings) -> None:
        begin(self._state, self.edit_to_verify(request), workflow.now(), mine=False)

    def edit_to_verify(self, request: VerifySettings) -> Amendment:
        """The entry that a person wants verified. Refuses what cannot be."""
        state = self._state
        if not state.settings.optimizer.verify_blocks:
            refuse("[optimizer] verify_blocks is 0: nothing is verified")
        if reason := state.verifying.why_not_reflect():
            refuse(reason)
        entries = [entry for entry in state.ledger.amendments if entry.state == "adopted" and entry.changes]
        if request.revision is not None:
            entries = [entry for entry in entries if entry.revision == request.revision]
        tunables, now = state.settings.tunables(), state.settings.flat()
        if not entries:
            which = "" if request.revision is None else f" of revision {request.revision}"
            refuse(f"no person's edit{which} is in the ledger; see: python starter.py amendments")
        entry = entries[-1]
        changes = [change for change in entry.changes if change.key in tunables]
        if not changes:
            refuse(f"revision {entry.revision} changed nothing that is tunable")
        if sum(map(size_of, changes)) > MOST_BYTES:
            refuse(f"revision {entry.revision} changed too much to be verified at once")
        if any(now[change.key] != change.new for change in changes):
            refuse(f"what revision {entry.revision} set does not hold any more")
        return entry

    def to_end(self, request: EndVerification) -> Verification:
        """The verification that a person wants to end. Refuses what cannot be."""
        current = self._state.verifying.open
        if request.action is None:
            refuse('say "action": "accept" (the new values stay) or "revert" (those of before hold again)')
        if not request.approver:
            refuse('say who decides: "approver": "your name"')
        if current is None:
            refuse("no change is being verified")
        if current.reversal:
            refuse(f"{current.reversal} asks for the way back: approve or reject that")
        return current

    def end(self, current: Verification, request: EndVerification) -> None:
        """The new values stay, or are gone already."""
        kept = request.action == "accept"
        current.watch.verdict = current.watch.verdict or ("kept_unconfirmed" if kept else "superseded")
        current.settle(request.approver, request.comment)
        self._note_verdict(current)

    def _note_verdict(self, current: Verification) -> None:
        verified = current.verified()
        if verified is None:
            return
        verifying = self._state.verifying
        if not current.noted:
            verifying.verified += verified.verdict != "superseded"
            verifying.claims += verified.verdict == "improved"
            current.note_verdict()
            measure_verdict(self._state.image_id, verified.verdict)
        self._state.ledger.note_verified(current.revision, verified)
