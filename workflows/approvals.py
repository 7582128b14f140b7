"""Who may decide on a proposal: each decision is held against the keys of [governance] approvers.

It knows no Temporal: what comes in is a decision and the time, what comes out is whether it counts.
"""

import base64
import binascii
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from configuration.approvers import PublicKey, read_key
from configuration.sections import GovernanceSettings
from messages.common import excerpt
from messages.requests import Decision
from messages.signatures import Signatures, Signed, Unheeded, statement

KEPT = 5
"""Decisions that did not count, as they are shown."""
MOST_RECORDED = 100
"""More of them are refused without a trace: whoever sends them would fill the history up."""


# The first test vector of RFC 8032: a signature over nothing.
_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
_OVER_NOTHING = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0"
    "595bbe24655141438e7a100b"
)


def is_signature(made: bytes, said: bytes, key: bytes) -> bool:
    """Whether a key has made a signature over what is said."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(made, said)
    except InvalidSignature:
        return False
    return True


# The library imports its exceptions when it first raises them. From within the sandbox of workflows it cannot
# and takes the whole process down; so a true and a false signature are looked at here, outside of it.
for _said in (b"", b"something"):
    is_signature(bytes.fromhex(_OVER_NOTHING), _said, bytes.fromhex(_KEY))


class Uncounted(ValueError):
    """A decision that does not count; the message says why."""


class Approvals:
    """Of one proposal. `wanted`: whether decisions have to be signed at all."""

    def __init__(self, governance: GovernanceSettings, image_id: str, loop_id: str) -> None:
        self._keys = [read_key(line) for line in governance.approvers]
        self._lines = governance.approvers
        self._quorum = governance.quorum
        self._image_id, self._loop_id = image_id, loop_id
        self._taken: dict[bytes, tuple[Decision, Signed]] = {}
        self._unheeded: list[Unheeded] = []
        self._recorded = 0

    @property
    def wanted(self) -> bool:
        return bool(self._keys)

    @property
    def full(self) -> bool:
        """Whether no more of what does not count is recorded."""
        return self._recorded >= MOST_RECORDED

    def check(self, decision: Decision, digest: str, now: datetime) -> PublicKey:
        """Whose signature a decision carries, on the proposal of that digest. Raises Uncounted."""
        if (signature := decision.signature) is None:
            names = ", ".join(key.name for key in self._keys)
            raise Uncounted(f"it is not signed, and only a signature of these counts: {names}")
        try:
            given = read_key(signature.key)
            made = base64.b64decode(signature.signature, validate=True)
        except (ValueError, binascii.Error):
            raise Uncounted("its signature cannot be read") from None
        key = next((key for key in self._keys if key.raw == given.raw), None)
        if key is None:
            raise Uncounted(f"it is signed with the key of a stranger, {read_key(signature.key).name}")
        said = statement(self._image_id, self._loop_id, digest, decision, signature.expires_at)
        if not is_signature(made, said, key.raw):
            raise Uncounted(
                f"the signature of {key.name} is not over this: another image, loop or proposal, another "
                "verdict, other values or another expiry"
            )
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
        agreed = [each for each, _ in self._taken.values() if each.changes == decision.changes]
        if len(agreed) < self._quorum:
            return None
        names = ", ".join(each.approver for each in agreed)
        words = "; ".join(each.comment for each in agreed if each.comment)
        return named.model_copy(update={"approver": excerpt(names, 80), "comment": excerpt(words, 400)})

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
