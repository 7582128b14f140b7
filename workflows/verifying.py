"""How the image lives with a change under verification: begins it, ends it, asks for the way back."""

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from messages.image import Amendment
    from messages.loops import Proposal
    from messages.requests import EndVerification, VerifySettings
    from messages.trials import Effect
    from optimizer.task_types import type_effects
    from optimizer.verdict import USUAL, Watch
    from workflows.image_state import ImageState
    from workflows.messaging import refuse
    from workflows.verification import Verification

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
        effects=type_effects(row.dissonance for row in state.observing.rows),
        watch=Watch(cap=options.verify_blocks),
        first_block=state.verifying.next_block,
    )


class Verifier:
    """Acts for one run of the image on the state it is given."""

    def __init__(self, state: ImageState, open_loop: OpenLoop) -> None:
        self._state = state
        self._open_loop = open_loop

    def due(self) -> datetime | None:
        """When the verification under way ends at the latest."""
        current = self._state.verifying.open
        return current.ends_at if current and current.is_running else None

    async def look(self) -> None:
        """Act on what has come to be known since the last time."""
        current, ledger = self._state.verifying.open, self._state.ledger
        if current is None:
            return
        self._note_how_the_reversal_ended(current)
        if current.is_running and ledger.latest_change("approved", "adopted", since=current.revision):
            current.supersede()
        if not current.is_running and not current.holds(self._state.settings):
            current.settle()
        current.close_if_due(workflow.now())
        current.forget_halves({task.block for task in self._state.running if task.block is not None})
        self._note_verdict(current)
        may_ask = self._state.phase in ("active", "paused") and not self._state.open_loops
        if current.wants_reversal and may_ask:
            await self._ask_for_the_way_back(current)

    async def _ask_for_the_way_back(self, current: Verification) -> None:
        current.asked += 1
        urgent = current.watch.verdict == "harmful"
        reason = f"{current.loop_id} has not helped"
        current.reversal = await self._open_loop(reason, current.proposal(), urgent)

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
        self._state.ledger.note_verified(current.revision, verified)
