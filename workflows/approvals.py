"""Who may decide on a proposal: each decision is held against the keys of [governance] approvers.

It knows no Temporal: what comes in is a decision and the time, what comes out is whether it counts.
"""

from datetime import datetime

from configuration.approvers import PublicKey
from configuration.sections import GovernanceSettings
from messages.common import excerpt
from messages.requests import Decision, Signature
from messages.signatures import Signatures, Signed, Unheeded
from messages.signers import Signers, Uncounted

KEPT = 5
"""Decisions that did not count, as they are shown."""
MOST_RECORDED = 100
"""More of them are refused without a trace: whoever sends them would fill the history up."""


class Approvals:
    """Of one proposal. `wanted`: whether decisions have to be signed at all."""

    def __init__(self, governance: GovernanceSettings, image_id: str, loop_id: str) -> None:
        self._signers = Signers(governance.approvers, image_id, loop_id)
        self._lines = governance.approvers
        self._quorum = governance.quorum
        self._taken: dict[bytes, tuple[Decision, Signed]] = {}
        self._unheeded: list[Unheeded] = []
        self._recorded = 0

    @property
    def wanted(self) -> bool:
        return bool(self._lines)

    @property
    def full(self) -> bool:
        """Whether no more of what does not count is recorded."""
        return self._recorded >= MOST_RECORDED

    def check(self, decision: Decision, digest: str, now: datetime) -> PublicKey:
        """Whose signature a decision carries, on the proposal of that digest. Raises Uncounted."""
        if (signature := decision.signature) is None:
            raise Uncounted(f"it is not signed, and only a signature of these counts: {self._signers.names}")
        key = self._signers.signer(decision, signature, digest)
        if now >= signature.expires_at:
            raise Uncounted(f"the signature of {key.name} has expired; sign it again")
        return key

    def count(self, decision: Decision, key: PublicKey, now: datetime) -> Decision | None:
        """Count a decision that was checked: what it leads to, or None while signatures are missing."""
        named = decision.model_copy(update={"approver": key.name})
        if decision.verdict == "reject":
            return named
        signed = Signed(name=key.name, changes=decision.changes, at=now)
        self._taken[key.raw] = (named, signed)
        agreed = self._agreed(decision)
        if len(agreed) < self._quorum:
            return None
        names = ", ".join(each.approver for each in agreed)
        words = "; ".join(each.comment for each in agreed if each.comment)
        return named.model_copy(update={"approver": excerpt(names, 80), "comment": excerpt(words, 400)})

    def signatures(self, decision: Decision) -> list[Signature]:
        """Those that an approval rests on."""
        return [each.signature for each in self._agreed(decision) if each.signature is not None]

    def record(self, verdict: str, approver: str, reason: str, now: datetime) -> None:
        """Note a decision that does not count, for a person to see; the latest few."""
        self._recorded += 1
        news = Unheeded(verdict=verdict, approver=approver, reason=excerpt(reason, 300), at=now)
        self._unheeded = [*self._unheeded[1 - KEPT :], news]

    def standing(self) -> Signatures:
        if not self.wanted:
            return Signatures()
        values = [decision.changes for decision, _ in self._taken.values()]
        most = max(map(values.count, values), default=0)
        return Signatures(
            approvers=self._lines,
            quorum=self._quorum,
            signed=[signed for _, signed in self._taken.values()],
            missing=max(self._quorum - most, 0),
            unheeded=self._unheeded,
        )

    def _agreed(self, decision: Decision) -> list[Decision]:
        """What was signed with the same values."""
        return [each for each, _ in self._taken.values() if each.changes == decision.changes]
