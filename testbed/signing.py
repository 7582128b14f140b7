"""People with keys, who sign decisions by what docs/governance.md says and by no code of ours."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from temporalio.client import Client

from messages.loops import ProposalView
from testbed.fake_ollama import FakeOllama
from testbed.world import Image, World


class Signer:
    """A person with an Ed25519 key."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = Ed25519PrivateKey.generate()
        public = self._key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        self.line = f"{public.decode()} {name}"

    def write(self, file: Path) -> str:
        """The private key as a file of OpenSSH's; its name."""
        private = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        file.touch(mode=0o600)
        file.write_bytes(private)
        return str(file)

    def decision(
        self,
        view: ProposalView,
        verdict: str = "approve",
        changes: dict[str, Any] | None = None,
        *,
        valid: timedelta = timedelta(minutes=5),
        signed_as: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """A signed decision on a proposal. `signed_as`: what the signature says otherwise."""
        expires_at = (datetime.now(UTC) + valid).replace(microsecond=0).isoformat()
        said = {
            "image": view.loop_id.partition("/")[0],
            "loop": view.loop_id,
            "proposal": view.digest,
            "verdict": verdict,
            "changes": changes or {},
            "expires_at": expires_at,
            **(signed_as or {}),
        }
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        made = self._key.sign(f"living-image decision v1\n{text}".encode())
        return {
            "verdict": verdict,
            "approver": "whatever they say",
            "proposal_digest": view.digest,
            "changes": changes or {},
            "signature": {
                "key": self.line,
                "expires_at": expires_at,
                "signature": base64.b64encode(made).decode(),
            },
        }


def govern(image: Image, quorum: int, *people: Signer) -> None:
    """Have only these people decide, before the image starts."""
    lines = json.dumps([person.line for person in people])
    text = image.file.read_text().replace("approvers = []", f"approvers = {lines}")
    image.file.write_text(text.replace("quorum = 1", f"quorum = {quorum}"))


@asynccontextmanager
async def governed(
    client: Client, ollama: FakeOllama, folder: Path, quorum: int, *people: Signer
) -> AsyncIterator[World]:
    """An image on which only these people decide."""
    world = World(client, ollama, folder)
    govern(world, quorum, *people)
    async with world:
        yield world
