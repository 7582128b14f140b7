"""One reflection: look at the logs, try, propose, wait for a person, rewrite settings.toml, conclude."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from configuration import InvalidSettings
    from configuration.approvers import PublicKey
    from messages.common import LoopState, part
    from messages.files import Approval, Rewrite
    from messages.loops import (
        Change,
        Decided,
        Hold,
        LoopConcluded,
        LoopStart,
        LoopWaits,
        OptimizerAnswer,
        Proposal,
        ProposalView,
        Reasoned,
    )
    from messages.names import LOOP_CONCLUDED, LOOP_WAITS, NEEDS_HUMAN
    from messages.requests import Approver, Decision
    from messages.signatures import SignatureTaken, digest_of_json
    from messages.signers import Uncounted
    from workflows.approvals import Approvals
    from workflows.deliberating import Deliberation
    from workflows.details.loop import loop_details
    from workflows.messaging import failure_text, outlive_cancellation, refuse, take, tell_image
    from workflows.notifying import Notifying
    from workflows.obstacles import StillInTheWay, wait_out
    from workflows.orders import files
    from workflows.orders.terms import Terms

Answer = TypeVar("Answer")

UNNAMED = "somebody, by signal"
THINKING = ("analysing", "trying")
"""The states before there is a proposal: a decision may come and waits."""


@workflow.defn
class PhilosophicalLoop:
    @workflow.init
    def __init__(self, start: Any = None) -> None:
        self._start = take(LoopStart, start)
        self._view = ProposalView(loop_id=self._start.loop_id, state="analysing", urgent=self._start.urgent)
        self._deliberation = Deliberation(self._start, self._show_trials)
        governance = self._start.settings.governance
        self._approvals = Approvals(governance, self._start.image_id, self._start.loop_id)
        self._view.signatures = self._approvals.standing()
        self._decision: Decision | None = None
        self._approval: Approval | None = None
        self._conclusion: LoopConcluded | None = None
        self._image_retires = False
        self._needs_human = False
        self._notifying = Notifying(self._start.image_id, self._note_notice)

    @workflow.run
    async def run(self, start: Any = None) -> LoopConcluded:
        return await outlive_cancellation(self._reflect())

    async def _reflect(self) -> LoopConcluded:
        self._show()
        proposal = await self._propose()
        if isinstance(proposal, LoopConcluded):
            return await self._conclude(proposal)
        await self._put_before_a_person(proposal)
        if isinstance(outcome := await self._wait_for_decision(), LoopConcluded):
            return await self._conclude(outcome)
        return await self._conclude(await self._rewrite(outcome))

    # --- the steps ---

    async def _propose(self) -> Proposal | LoopConcluded:
        """The optimizer's proposal with its diff in the view, or the end of the loop."""
        try:
            answer = await self._deliberate()
            if answer is None:
                return self._ending("rejected")
            if answer.proposal is None:
                self._view.not_evaluated = self._deliberation.trials.faults
                return self._ending("no_proposal", answer.reason)
            rewrite = Rewrite(loop_id=self._start.loop_id, changes=answer.proposal.changes)
            compare = partial(files.preview_rewrite, rewrite, "Compare the proposal with settings.toml")
            timeout = self._start.settings.governance.approval_timeout
            preview = await self._wait_out(compare, workflow.now() + timeout)
        except ActivityError as error:
            return self._ending("failed", failure_text(error))
        except StillInTheWay as obstacle:
            return self._ending("failed", f"no proposal could be compared with settings.toml: {obstacle}")
        self._view.changes = answer.proposal.changes
        if preview.stale:
            return self._stale(preview.stale)
        self._view.diff = preview.diff
        return answer.proposal

    async def _deliberate(self) -> OptimizerAnswer | None:
        """What the optimizer says in the end; None if the image retires meanwhile. Raises ActivityError."""
        if self._start.proposal is not None:
            return OptimizerAnswer(proposal=self._start.proposal)
        thinking = asyncio.create_task(self._deliberation.answer())
        await workflow.wait_condition(
            lambda: thinking.done() or (self._image_retires and self._view.state == "trying")
        )
        if thinking.done():
            return await thinking
        thinking.cancel()
        await workflow.wait([thinking])
        self._note_decision()
        return None

    async def _put_before_a_person(self, proposal: Proposal) -> None:
        timeout = self._start.settings.governance.approval_timeout
        news = {
            "digest": self._named(proposal),
            "expires_at": workflow.now() + timeout,
            "state": "pending",
        }
        self._view = self._view.model_copy(update=part(Proposal, proposal) | news)
        self._show()
        self._wait_for_human(True)
        self._notifying.begin(self._view)

    def _named(self, proposal: Proposal) -> str:
        """Its digest. Where it is signed, a files worker is to see as well what the signatures cover."""
        if self._approvals.wanted:
            self._approval = approval_for(self._start, proposal, self._view.diff)
            if workflow.patched("approval-for-files"):
                return self._approval.digest(self._start.loop_id)
        return digest_of(self._start, proposal, self._view.diff)

    async def _wait_for_decision(self) -> list[Change] | LoopConcluded:
        """What to rewrite, or the end of the loop: rejected or expired."""
        timeout = self._start.settings.governance.approval_timeout
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._decision is not None, timeout=timeout, timeout_summary="The proposal expires"
            )
        self._wait_for_human(False)
        self._notifying.stop()
        if (decision := self._note_decision()) is None:
            signed = f"; signatures: {self._view.signatures.standing()}" if self._approvals.wanted else ""
            return self._ending("expired", f"nobody decided within {timeout}{signed}")
        if decision.verdict == "reject":
            return self._ending("rejected")
        return [
            change.model_copy(update={"new": decision.changes.get(change.key, change.new)})
            for change in self._view.changes
        ]

    async def _rewrite(self, changes: list[Change]) -> LoopConcluded:
        self._view.state, self._view.changes = "rewriting", changes
        self._show()
        order = Rewrite(loop_id=self._start.loop_id, changes=changes, decision=self._decision)
        if self._approval is not None and self._decision is not None:
            self._approval.signatures = self._approvals.signatures(self._decision)
            order.approval = self._approval
        rewrite = partial(files.rewrite_settings, order, "Rewrite settings.toml")
        try:
            receipt = await self._wait_out(rewrite, self._view.expires_at or workflow.now())
        except ActivityError as error:
            return self._ending("failed", failure_text(error))
        except StillInTheWay as obstacle:
            return self._ending("failed", f"approved, and not carried out before it expired: {obstacle}")
        if receipt.stale:
            return self._stale(receipt.stale)
        return self._ending("approved")

    async def _conclude(self, conclusion: LoopConcluded) -> LoopConcluded:
        self._view.state, self._view.reason = conclusion.state, conclusion.reason
        self._view.decided_at = conclusion.decided_at
        self._view.obstacle = ""
        self._show()
        self._wait_for_human(False)
        await tell_image(self._start.image_id, LOOP_CONCLUDED, conclusion)
        self._conclusion = conclusion
        await workflow.wait_condition(workflow.all_handlers_finished)
        return conclusion

    # --- messages ---

    @workflow.query(description="The proposal: what would change, why, and how it stands")
    def proposal(self) -> ProposalView:
        return self._view

    @workflow.update(
        description='Decide: {"verdict": "approve" or "reject", "approver": "your name", '
        '"proposal_digest"?, "comment"?, "changes"?: {key: your own value}, "signature"?}'
    )
    async def decide(self, message: Any = None) -> LoopConcluded | SignatureTaken:
        decision = take(Decision, message)
        if self._approvals.wanted:
            self._take_signed(decision)
            if self._decision is None:
                standing = self._view.signatures
                return SignatureTaken(
                    loop_id=self._start.loop_id, signed=standing.signed, missing=standing.missing
                )
        else:
            # It may come before there is a proposal; it is then held against the proposal, not lost.
            await workflow.wait_condition(lambda: self._view.state not in THINKING)
            self._refuse_if_undecidable(decision)
            self._decision = decision
        await workflow.wait_condition(lambda: self._conclusion is not None)
        assert self._conclusion is not None
        return self._conclusion

    @decide.validator
    def _check_decision(self, message: Any = None) -> None:
        decision = take(Decision, message)
        if decision.verdict is None:
            refuse('say "verdict": "approve" or "reject"')
        if not decision.approver:
            refuse('say who decides: "approver": "your name"')
        # What is refused here leaves no trace, and a person is to see who tried.
        if self._approvals.wanted:
            if self._approvals.full:
                self._signer(decision)
        elif self._view.state not in THINKING:
            self._refuse_if_undecidable(decision)

    # `*_`: a signal cannot be refused, and an argument too many would fail the workflow task for ever.
    @workflow.signal(description='Approve the proposal: nothing, your name, or {"approver"?, "comment"?}')
    def approve(self, message: Any = None, *_: Any) -> None:
        self._decide_by_signal("approve", message)

    @workflow.signal(description='Reject the proposal: nothing, your name, or {"approver"?, "comment"?}')
    def reject(self, message: Any = None, *_: Any) -> None:
        self._decide_by_signal("reject", message)

    @workflow.signal(description='From the image: {"held": true} while a person has paused it; trials wait')
    def hold(self, message: Any = None, *_: Any) -> None:
        with contextlib.suppress(ApplicationError):
            self._deliberation.trials.held = take(Hold, message).held

    def _decide_by_signal(self, verdict: Any, message: Any) -> None:
        try:
            by = take(Approver, {"approver": message} if isinstance(message, str) else message)
        except ApplicationError as error:
            # A signal cannot be refused. What nobody can read decides nothing.
            workflow.logger.warning("The signal %s was not understood: %s", verdict, error)
            return
        retires = verdict == "reject" and by.approver == self._start.image_id
        self._image_retires |= retires
        # A retiring image has no key. It only ever rejects, which leaves settings.toml as it is.
        if self._approvals.wanted and not retires:
            with contextlib.suppress(ApplicationError):
                self._take_signed(Decision(verdict=verdict, **dict(by)))
        elif self._decision is None and self._view.state in (*THINKING, "pending"):
            self._decision = Decision(verdict=verdict, approver=by.approver or UNNAMED, comment=by.comment)

    def _take_signed(self, decision: Decision) -> None:
        """Count a decision that has to be signed. What does not count is refused and shown."""
        now = workflow.now()
        try:
            key = self._signer(decision)
        except ApplicationError as error:
            if not self._approvals.full:
                self._approvals.record(str(decision.verdict), decision.approver, error.message, now)
            raise
        else:
            self._decision = self._approvals.count(decision, key, now)
        finally:
            self._view.signatures = self._approvals.standing()
            self._show()

    def _signer(self, decision: Decision) -> PublicKey:
        self._refuse_if_undecidable(decision)
        try:
            return self._approvals.check(decision, self._view.digest, workflow.now())
        except Uncounted as error:
            refuse(f"this decision does not count: {error}")

    def _refuse_if_undecidable(self, decision: Decision) -> None:
        view = self._view
        if self._decision is not None:
            refuse(
                f"{view.loop_id} is decided already: {self._decision.verdict} by {self._decision.approver}"
            )
        if view.state != "pending":
            refuse(f"{view.loop_id} has nothing to decide: {view.state}. {view.reason}".strip())
        if decision.proposal_digest not in (None, view.digest):
            refuse(
                f"proposal_digest {decision.proposal_digest} is not this proposal's, which is {view.digest}; "
                "look at it again"
            )
        if decision.changes and decision.verdict == "reject":
            refuse("a rejection takes no changes")
        old = {change.key: change.old for change in view.changes}
        for key, value in decision.changes.items():
            if key not in old:
                refuse(f"{key} is not part of this proposal, which changes {', '.join(old)}")
            if value == old[key]:
                refuse(f"{key} = {value} is what holds now; reject the proposal to keep it")
        try:
            self._start.settings.with_changes(decision.changes)
        except InvalidSettings as error:
            refuse(str(error))

    # --- helpers ---

    async def _wait_out(self, order: Callable[[Terms], Awaitable[Answer]], deadline: datetime) -> Answer:
        """What a files worker makes of an order. Raises ActivityError, and StillInTheWay at the deadline."""
        waiting = asyncio.create_task(wait_out(order, deadline, self._tell_obstacle))
        await workflow.wait_condition(lambda: waiting.done() or self._gives_up())
        if not waiting.done():
            waiting.cancel()
            raise StillInTheWay(self._view.obstacle)
        answer = await waiting
        await self._tell_obstacle("")
        return answer

    def _gives_up(self) -> bool:
        """Whether an obstacle is not waited out any more: a retiring image waits for its loops."""
        return bool(self._view.obstacle) and self._image_retires

    async def _tell_obstacle(self, obstacle: str) -> None:
        """Say on the loop's page, in its view and to the image what it waits for; once for each obstacle."""
        if obstacle == self._view.obstacle:
            return
        self._view.obstacle = obstacle
        self._show()
        self._wait_for_human(bool(obstacle))
        if obstacle:
            self._notifying.begin(self._view)
        else:
            self._notifying.stop()
        news = LoopWaits(loop_id=self._start.loop_id, obstacle=obstacle)
        await tell_image(self._start.image_id, LOOP_WAITS, news)

    def _wait_for_human(self, needed: bool) -> None:
        """Stand in the inbox, or no more: for a proposal, or for an obstacle that a person has to mend."""
        if needed != self._needs_human:
            self._needs_human = needed
            workflow.upsert_search_attributes([NEEDS_HUMAN.value_set(needed)])

    def _note_decision(self) -> Decision | None:
        if self._decision is not None:
            self._view.decided_by, self._view.comment = self._decision.approver, self._decision.comment
        return self._decision

    def _show_trials(self) -> None:
        trials, view = self._deliberation.trials, self._view
        if view.state in THINKING:  # of trials that are cancelled, one may still come to its end
            view.state, view.rounds, view.trial_tokens = "trying", trials.rounds, trials.tokens
            self._show()

    def _note_notice(self, notice: str) -> None:
        self._view.notice = notice
        self._show()

    def _ending(self, state: LoopState, reason: str = "") -> LoopConcluded:
        view = self._view
        return LoopConcluded(
            loop_id=view.loop_id,
            state=state,
            decided_at=workflow.now(),
            task_ids=[log.task_id for log in self._start.window],
            observed=self._deliberation.observed(),
            # What was expected of the proposal says nothing of a person's own values.
            expected=None if self._decision is None or self._decision.changes else view.effect,
            **part(Reasoned, view) | part(Decided, view) | {"reason": reason},
        )

    def _stale(self, keys: list[str]) -> LoopConcluded:
        return self._ending("stale", f"settings.toml was edited meanwhile: {', '.join(keys)}")

    def _show(self) -> None:
        workflow.set_current_details(loop_details(self._view))


def digest_of(start: LoopStart, proposal: Proposal, diff: str = "") -> str:
    """Hex digits that name exactly this proposal, with all that a person is shown of it.

    Twelve; all 64 where it is signed, for then nobody may find another proposal with the same ones.
    """
    shown: Any = proposal.model_dump(mode="json")
    signed = bool(start.settings.governance.approvers)
    if proposal.provenance is None and start.proposal is None and not signed:
        # As histories of 0.2.0 have it: they hold decisions that name this one.
        shown = [change.model_dump() for change in proposal.changes]
    parts = [start.loop_id, start.settings_digest, shown]
    if signed:
        parts += [diff, start.urgent]
    named = digest_of_json(parts)
    return named if signed else named[:12]


def approval_for(start: LoopStart, proposal: Proposal, diff: str) -> Approval:
    """What is to be signed: the changes, and all that a person is shown of them."""
    shown = digest_of_json([proposal.model_dump(mode="json"), diff, start.urgent])
    return Approval(settings_digest=start.settings_digest, proposed=proposal.changes, shown=shown)
