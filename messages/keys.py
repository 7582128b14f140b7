"""The keys of LIVING_IMAGE_KEYS: the first one encrypts, all of them decrypt. No Temporal, no files.

AES-256-GCM, each time with a random nonce of 96 bits, which stands before what was encrypted.
"""

import base64
import binascii
import os
import re
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VARIABLE = "LIVING_IMAGE_KEYS"
KEY_BYTES = 32
NONCE_BYTES = 12
HOW_TO = f"an entry is NAME:KEY, and `openssl rand -base64 {KEY_BYTES}` makes a key"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class MalformedKeys(ValueError):
    """The variable cannot be read; the message says which entry is wrong, and never tells a key."""


class CannotOpen(ValueError):
    """Something encrypted that the keys do not open; the message names the key that is missing."""


@dataclass(frozen=True, repr=False)
class Keys:
    """The keys by their ids, in the order of the variable."""

    by_id: dict[str, bytes]

    @property
    def first(self) -> str:
        return next(iter(self.by_id))

    def led_by(self, key_id: str) -> "Keys":
        """The same keys, of which another one encrypts. Raises CannotOpen."""
        if key_id not in self.by_id:
            raise missing(key_id)
        return Keys({key_id: self.by_id[key_id], **self.by_id})

    def seal(self, data: bytes, bound_to: str = "") -> tuple[str, bytes]:
        """The id of the first key, and nonce and ciphertext, which open only with the same `bound_to`."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = _cipher(self.by_id[self.first]).encrypt(nonce, data, _associated(self.first, bound_to))
        return self.first, nonce + sealed

    def open(self, key_id: str, data: bytes, bound_to: str = "") -> bytes:
        """What was sealed. Raises CannotOpen."""
        if key_id not in self.by_id:
            raise missing(key_id)
        nonce, sealed = data[:NONCE_BYTES], data[NONCE_BYTES:]
        try:
            return _cipher(self.by_id[key_id]).decrypt(nonce, sealed, _associated(key_id, bound_to))
        except (InvalidTag, ValueError):
            raise CannotOpen(
                f"it does not open with the key {key_id!r} of {VARIABLE}: that is another key of this name, "
                "or it was changed since"
            ) from None


def missing(key_id: str) -> CannotOpen:
    """What to say of a key that is not there."""
    return CannotOpen(f"it is encrypted with the key {key_id!r}, which is not in {VARIABLE}; add it there")


def keys() -> Keys | None:
    """The keys of the environment; None where none are set. Raises MalformedKeys."""
    return parse(os.environ.get(VARIABLE, ""))


@lru_cache(maxsize=4)
def parse(text: str) -> Keys | None:
    """The keys of `id:base64,id2:base64`; None of nothing. Raises MalformedKeys."""
    if not text.strip():
        return None
    found: dict[str, bytes] = {}
    for number, entry in enumerate(text.split(","), 1):
        name, colon, encoded = (part.strip() for part in entry.partition(":"))
        if not colon or not _NAME.fullmatch(name):
            wrong = (
                "has no name before a colon" if not colon else "has a name of other than A-Z a-z 0-9 . _ -"
            )
            raise MalformedKeys(f"Entry {number} of {VARIABLE} {wrong}; {HOW_TO}")
        if name in found:
            raise MalformedKeys(f"Entry {number} of {VARIABLE} has the name {name!r} a second time; {HOW_TO}")
        found[name] = _key(f"The key {name!r} of {VARIABLE}", encoded)
    return Keys(found)


def _key(which: str, encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedKeys(f"{which} is not base64; {HOW_TO}") from None
    if len(key) != KEY_BYTES:
        raise MalformedKeys(f"{which} has {len(key)} bytes instead of {KEY_BYTES}; {HOW_TO}")
    return key


def _associated(key_id: str, bound_to: str) -> bytes:
    return f"{key_id}\n{bound_to}".encode() if bound_to else key_id.encode()


@lru_cache(maxsize=64)
def _cipher(key: bytes) -> AESGCM:
    return AESGCM(key)
