"""How the image takes over what settings.toml says: a person's edit, an approved change, a revert."""

import asyncio
import contextlib
from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError

with workflow.unsafe.imports_passed_through():
    from messages.common import excerpt
    from messages.files import Rewrite, SettingsFile
    from messages.loops import Change, LoopConcluded
    from messages.names import REVERSAL
    from messages.requests import EndVerification, RevertSettings
    from messages.trials import Effect
    from workflows import verifying
    from workflows.image_state import ImageState
    from workflows.ledger import NoWayBack, UnheardRevert
    from workflows.messaging import failure_text, refuse, refuse_failed
    from workflows.orders import files
    from workflows.verification import Verification


class Adopter:
    """Acts for one run of the image on the state it is given; `note_change` wakes the image."""

    def __init__(self, state: ImageState, note_change: Callable[[], None]) -> None:
        self._state = state
        self._note_change = note_change
        # Two readings of settings.toml at once could adopt the same edit twice.
        self._one_at_a_time = asyncio.Lock()

    async def conclude(self, conclusion: LoopConcluded) -> SettingsFile | None:
        """File how a loop ended, with settings.toml as it then stands where that matters and can be read."""
        async with self._one_at_a_time:
            if conclusion.loop_id not in self._state.open_loops:
                return None
            file = None
            if conclusion.state not in ("no_proposal", "rejected", "expired"):
                with contextlib.suppress(ApplicationError):
                    file = await self._read()
            before = self._state.ledger.revision
            self._state.conclude(conclusion, file)
            self._verify_what_was_approved(before, conclusion.expected)
            return file

    async def adopt_edit(self) -> bool:
        """Take over a person's edit of settings.toml; false when there is none. Refuses a broken one."""
        async with self._one_at_a_time:
            file = await self._read()
            if (file.rewritten_by or file.last_loop) in self._state.open_loops:
                # What a loop has just written is not a person's edit; the loop will say so itself.
                return False
            before = self._state.ledger.revision
            changed = self._state.ledger.adopt_file(file, workflow.now())
            # An approval of which nobody could say whether it was carried out may show now.
            self._verify_what_was_approved(before, None)
            return changed

    def _verify_what_was_approved(self, since: int, expected: Effect | None) -> None:
        approved = self._state.ledger.latest_change("approved", since=since)
        if approved is None or approved.source == REVERSAL or not workflow.patched("verify-changes"):
            return
        verifying.begin(self._state, approved, workflow.now(), expected=expected)

    def changes_of_revert(self, revision: int) -> list[Change]:
        """What going back to an earlier revision changes. Refuses one that cannot be gone back to."""
        try:
            return self._state.ledger.changes_back_to(revision)
        except NoWayBack as error:
            refuse(str(error))

    async def revert(self, request: RevertSettings) -> bool:
        """Rewrite settings.toml to an earlier revision by a person's order, and adopt it as theirs."""
        async with self._one_at_a_time:
            changes = self.changes_of_revert(request.revision)
            return await self._carry_out(
                changes, str(request.revision), f"revert to revision {request.revision}", request
            )

    async def take_back(self, current: Verification, request: EndVerification) -> bool:
        """Rewrite settings.toml to what held before a change under verification, by a person's order."""
        async with self._one_at_a_time:
            changes = current.proposal().changes
            return await self._carry_out(
                changes, f"before-{current.revision}", f"reversal of {current.loop_id}", request
            )

    async def _carry_out(
        self, changes: list[Change], name: str, source: str, request: RevertSettings | EndVerification
    ) -> bool:
        order = Rewrite(
            loop_id=f"{self._state.image_id}/revert/{name}/{self._state.ledger.revision}",
            changes=changes,
            by_person=True,
        )
        try:
            receipt = await files.rewrite_settings(order, f"Rewrite settings.toml: {source}")
        except ActivityError as error:
            if isinstance(error.cause, TimeoutError):
                # Its worker may have died after the rewrite; then the file will say so.
                self._state.ledger.unheard = UnheardRevert(
                    order=order.loop_id, source=source, by=request.approver, comment=request.comment
                )
            refuse_failed(error, failure_text(error), "InvalidSettings")
        if receipt.stale:
            refuse(f"settings.toml says otherwise by now: {', '.join(receipt.stale)}; look at it again")
        changed = self._state.ledger.adopt_edit(
            receipt.settings, request.approver, workflow.now(), source=source, comment=request.comment
        )
        self._note_change()
        return changed

    async def _read(self) -> SettingsFile:
        """settings.toml as it stands; an edit that breaks a rule is refused and remembered for `status`."""
        try:
            file = await files.read_settings()
        except ActivityError as error:
            self._state.ledger.settings_problem = excerpt(failure_text(error), 1_000)
            self._note_change()
            refuse_failed(error, self._state.ledger.settings_problem, "InvalidSettings")
        self._state.ledger.settings_problem = self._state.ledger.why_not_mine(file.settings)
        self._note_change()
        if self._state.ledger.settings_problem:
            refuse(self._state.ledger.settings_problem, "InvalidSettings")
        return file
