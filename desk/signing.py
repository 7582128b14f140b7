"""Signing a decision, where the image counts only those of its approvers: by a key file or the SSH agent.

The libraries for it are heavy, and imported when something is signed.
"""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import typer

from connection.problems import Problem
from desk.prompting import prompting

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from messages.loops import ProposalView
    from messages.requests import Decision

VALID_FOR = timedelta(minutes=15)
"""From signing to arrival: a moment, and room for clocks that differ."""


class Key(Protocol):
    """A key that can sign. `raw`: the 32 bytes of its public half."""

    raw: bytes

    async def sign(self, data: bytes) -> bytes: ...


async def key_for(view: ProposalView, file: Path | None) -> Key:
    """An approver's key: that of the file, else the first that the SSH agent holds. Raises Problem."""
    from configuration.approvers import read_key

    approvers = {read_key(line).raw: read_key(line).name for line in view.signatures.approvers}
    names = ", ".join(approvers.values())
    if file is not None:
        key = FileKey(file)
        if key.raw not in approvers:
            raise Problem(f"The key in {file} is none of those that may decide on {view.loop_id}: {names}")
        return key
    held = await _held_by_agent()
    for raw in approvers:
        if raw in held:
            return AgentKey(raw)
    raise Problem(
        f"Only a signature of {names} counts for {view.loop_id}, and the SSH agent "
        f"{'holds no such key' if os.environ.get('SSH_AUTH_SOCK') else 'is not there'}. "
        "Name a file with --key, or add the key with ssh-add"
    )


async def signed(decision: Decision, image_id: str, loop_id: str, key: Key) -> Decision:
    """A decision with a signature over the proposal that its digest names. Raises Problem."""
    from configuration.approvers import written
    from messages.requests import Signature
    from messages.signatures import statement

    expires_at = (datetime.now(UTC) + VALID_FOR).replace(microsecond=0)
    said = statement(image_id, loop_id, decision.proposal_digest or "", decision, expires_at)
    made = base64.b64encode(await key.sign(said)).decode()
    signature = Signature(key=written(key.raw), expires_at=expires_at, signature=made)
    return decision.model_copy(update={"signature": signature})


class FileKey:
    """A private key in a file, in OpenSSH's format; its passphrase is asked for. Raises Problem."""

    def __init__(self, file: Path) -> None:
        self._key = _private_key(file)
        self.raw = self._key.public_key().public_bytes_raw()

    async def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


class AgentKey:
    """A key that the SSH agent holds and does not give away."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    async def sign(self, data: bytes) -> bytes:
        import asyncssh

        from configuration.approvers import blob_of

        try:
            async with await asyncssh.connect_agent() as agent:
                made = await agent.sign(blob_of(self.raw), data)
        except (OSError, ValueError) as error:
            raise Problem(f"The SSH agent did not sign ({error}). Nothing was decided") from None
        # An SSH signature: the name of its kind, then the 64 bytes.
        return made[-64:]


async def _held_by_agent() -> set[bytes]:
    """The Ed25519 keys of the SSH agent; none where there is no agent. Raises Problem."""
    if not os.environ.get("SSH_AUTH_SOCK"):
        return set()
    import asyncssh

    try:
        async with await asyncssh.connect_agent() as agent:
            keys = await agent.get_keys()
    except (OSError, ValueError) as error:
        raise Problem(
            f"The SSH agent at SSH_AUTH_SOCK does not answer ({error}). Start it, or name a file with --key"
        ) from None
    return {key.public_data[-32:] for key in keys if key.algorithm == b"ssh-ed25519"}


def _private_key(file: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        text = file.expanduser().read_bytes()
    except OSError as error:
        raise Problem(f"{file} cannot be read ({error.strerror}). Name a private key with --key") from None
    try:
        try:
            key = load_ssh_private_key(text, None)
        except TypeError:
            key = load_ssh_private_key(text, _passphrase(file))
    except (ValueError, UnsupportedAlgorithm):
        raise Problem(
            f"{file} holds no private key in OpenSSH's format, or the passphrase was another one. "
            "Make a key with python starter.py keygen"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Problem(f"The key in {file} is not an Ed25519 key. Make one with python starter.py keygen")
    return key


def _passphrase(file: Path) -> bytes:
    with prompting("Add the key to your SSH agent and leave --key out: ssh-add FILE"):
        typed: str = typer.prompt(f"Passphrase of {file}", hide_input=True, err=True)
    return typed.encode()
