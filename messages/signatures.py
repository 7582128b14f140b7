"""What a signed decision says, byte for byte, and how the signatures on a proposal stand."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel

from configuration import Value
from messages.requests import Decision

PREFIX = b"living-image decision v1\n"


def statement(image_id: str, loop_id: str, digest: str, decision: Decision, expires_at: datetime) -> bytes:
    """The bytes that a decision's signature is made over: for one proposal, and for nothing else."""
    said = {
        "image": image_id,
        "loop": loop_id,
        "proposal": digest,
        "verdict": decision.verdict,
        "changes": decision.changes,
        "expires_at": expires_at.astimezone(UTC).isoformat(),
    }
    return PREFIX + json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def signed_digest(loop_id: str, settings_digest: str, changes: list[Any], shown: str) -> str:
    """The 64 hex digits of a proposal that is signed; `shown`: of all that is shown beside the changes.

    In two parts, so that whoever has the changes and one digest can tell what was signed.
    """
    return digest_of_json([loop_id, settings_digest, changes, shown])


def digest_of_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class Signed(BaseModel):
    """A person's signature that counts for an approval, with their own values if they have any."""

    name: str
    changes: dict[str, Value] = {}
    at: datetime

    def __str__(self) -> str:
        own = ", ".join(f"{key} = {json.dumps(value)}" for key, value in self.changes.items())
        return f"{self.name}, {self.at:%Y-%m-%d %H:%M} UTC" + (f", with {own}" if own else "")


class Unheeded(BaseModel):
    """A decision that came and did not count. `approver`: what it said of itself, which proves nothing."""

    verdict: str
    approver: str = ""
    reason: str
    at: datetime

    def __str__(self) -> str:
        by = f" by {self.approver!r}" if self.approver else ""
        return f"{self.at:%Y-%m-%d %H:%M} UTC, {self.verdict}{by}: {self.reason}"


class Signatures(BaseModel):
    """How a proposal stands that waits for signatures; without `approvers` it waits for none.

    `approvers`: their public keys. `missing`: how many more have to sign what most have signed.
    `unheeded`: the latest decisions that did not count.
    """

    approvers: list[str] = []
    quorum: int = 1
    signed: list[Signed] = []
    missing: int = 0
    unheeded: list[Unheeded] = []

    def standing(self) -> str:
        """Who has signed and what is missing, in words; nothing where no signature is asked for."""
        if not self.approvers:
            return ""
        by = "; ".join(map(str, self.signed)) or "nobody"
        return f"{self.quorum} wanted, {self.missing} missing; signed by {by}"


class SignatureTaken(BaseModel):
    """The answer to a signed approval that others have to sign as well."""

    loop_id: str
    state: Literal["pending"] = "pending"
    signed: list[Signed]
    missing: int

    def __str__(self) -> str:
        return (
            f"Your signature counts. {self.missing} more of the same approval "
            f"{'is' if self.missing == 1 else 'are'} wanted before {self.loop_id} is carried out"
        )
