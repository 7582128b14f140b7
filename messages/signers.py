"""Whose signature a decision carries: loops ask before they count it, a files worker before it writes."""

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from configuration.approvers import PublicKey, read_key
from messages.requests import Decision, Signature
from messages.signatures import statement

# The first test vector of RFC 8032: a signature over nothing.
_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
_OVER_NOTHING = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0"
    "595bbe24655141438e7a100b"
)


class Uncounted(ValueError):
    """A decision that does not count; the message says why."""


class Signers:
    """Those who may decide on the proposals of one loop. `lines`: their keys as settings.toml has them."""

    def __init__(self, lines: list[str], image_id: str, loop_id: str) -> None:
        self.keys = [read_key(line) for line in lines]
        self._image_id, self._loop_id = image_id, loop_id

    @property
    def names(self) -> str:
        return ", ".join(key.name for key in self.keys)

    def signer(self, decision: Decision, signature: Signature, digest: str) -> PublicKey:
        """Who has signed a decision on the proposal of that digest. Raises Uncounted; expiry is not seen."""
        try:
            given = read_key(signature.key)
            made = base64.b64decode(signature.signature, validate=True)
        except (ValueError, binascii.Error):
            raise Uncounted("its signature cannot be read") from None
        key = next((key for key in self.keys if key.raw == given.raw), None)
        if key is None:
            raise Uncounted(f"it is signed with the key of a stranger, {given.name}")
        said = statement(self._image_id, self._loop_id, digest, decision, signature.expires_at)
        if not is_signature(made, said, key.raw):
            raise Uncounted(
                f"the signature of {key.name} is not over this: another image, loop or proposal, another "
                "verdict, other values or another expiry"
            )
        return key


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
