"""The public keys of those who may decide, as they stand in settings.toml: Ed25519 in OpenSSH form."""

import base64
import binascii
import hashlib
from typing import NamedTuple

KIND = "ssh-ed25519"
NAME_CHARACTERS = 40
_HEAD = len(KIND).to_bytes(4) + KIND.encode() + (32).to_bytes(4)


class PublicKey(NamedTuple):
    """`raw`: its 32 bytes. `name`: the comment of its line, else a short fingerprint."""

    raw: bytes
    name: str


def read_key(line: str) -> PublicKey:
    """A key from a line such as `ssh-ed25519 AAAA... name`. Raises ValueError."""
    kind, _, rest = line.strip().partition(" ")
    encoded, _, name = rest.strip().partition(" ")
    if kind != KIND:
        raise ValueError(f'must be an Ed25519 public key such as "{KIND} AAAA... name"')
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        blob = b""
    if len(blob) != len(_HEAD) + 32 or not blob.startswith(_HEAD):
        raise ValueError(f'is a broken key; copy the whole line again, "{KIND} AAAA... name"')
    name = " ".join(name.split())
    if len(name) > NAME_CHARACTERS:
        raise ValueError(f"must have a name of at most {NAME_CHARACTERS} characters")
    return PublicKey(blob[len(_HEAD) :], name or fingerprint(blob))


def written(raw: bytes) -> str:
    """The line of a key without a name, from its 32 bytes."""
    return f"{KIND} {base64.b64encode(blob_of(raw)).decode()}"


def blob_of(raw: bytes) -> bytes:
    """A key as SSH sends it."""
    return _HEAD + raw


def fingerprint(blob: bytes) -> str:
    """The beginning of what `ssh-keygen -l` calls it."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return f"SHA256:{digest[:12]}"
