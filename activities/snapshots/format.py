"""The bytes of a snapshot: how they are laid out, signed, checked and read. docs/snapshots.md describes them.

Nothing of a file is believed before its digests hold, and nothing in it is ever carried out.
"""

import hashlib
import hmac
import io
import json
import os
import struct
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from activities.snapshots import plain_pickle

if TYPE_CHECKING:
    from messages.keys import Keys

MAGIC = b"LivingImage\n"
FORMAT, FORMAT_ENCRYPTED = 1, 2
KEY_VARIABLE = "LIVING_IMAGE_KEY"
KEYS_VARIABLE = "LIVING_IMAGE_KEYS"
MOST_BYTES = 1 << 30
"""The largest file that is written or read: it is held in memory."""

_MOST_HEADER_BYTES = 4096
_START = struct.Struct(">12sHI")
_DIGEST_BYTES = 32
_PIECE_BYTES = 1 << 20


class BadSnapshot(ValueError):
    """A file that is no snapshot, is damaged or cannot be trusted; the message says which and what to do."""


class Untrusted(BadSnapshot):
    """A file that may be sound, but for the key that is set, or not set, here."""


class Header(BaseModel):
    """What a file says of itself. `payload_sha256` is equal for equal content.

    `started_at`: when the image came to life, which tells one life from another of the same name. Files of
    early versions do not say. `encrypted_with`: the id of the payload's key; empty: everybody can read it.
    """

    model_config = ConfigDict(extra="ignore")

    image_id: str
    started_at: AwareDatetime | None = None
    generation: int = Field(ge=1)
    written_at: AwareDatetime
    payload_bytes: int = Field(ge=0, le=MOST_BYTES)
    payload_sha256: str
    library: str
    signed: bool
    encrypted_with: str = ""


class Envelope(BaseModel):
    """The payload. `state` is an ImageState in JSON mode, `memory` plain dicts of the memory store."""

    model_config = ConfigDict(strict=True)

    format: Literal[1]
    state: dict[str, Any]
    memory: list[dict[str, Any]]


class Checked(NamedTuple):
    """A file whose every byte is as it was written: what it says, its size and the SHA-256 of its content."""

    header: Header
    bytes: int
    sha256: str


class Snapshot(NamedTuple):
    header: Header
    sha256: str
    envelope: Envelope


def signing_key() -> bytes:
    """The key that signs snapshots; empty: they are not signed."""
    return os.fsencode(os.environ.get(KEY_VARIABLE, ""))


def encryption_keys() -> "Keys | None":
    """The keys that encrypt snapshots, if there are any."""
    if not os.environ.get(KEYS_VARIABLE, "").strip():
        return None
    from messages.keys import keys  # noqa: PLC0415 (who has none does not wait for the library)

    return keys()


def digest_of(payload: bytes, keys: "Keys | None") -> str:
    """Equal for equal payloads; of encrypted ones it tells nothing to whoever does not have the key."""
    if keys is None:
        return hashlib.sha256(payload).hexdigest()
    of_digests = hmac.digest(keys.by_id[keys.first], b"LivingImage digests of payloads", "sha256")
    return hmac.new(of_digests, payload, "sha256").hexdigest()


def encrypt(header: Header, payload: bytes, keys: "Keys") -> tuple[Header, bytes]:
    """A header and payload that only the keys open, and only as the one and generation that they are."""
    key_id, data = keys.seal(payload, _bound_to(header))
    return header.model_copy(update={"encrypted_with": key_id, "payload_bytes": len(data)}), data


def _decrypt(header: Header, data: bytes) -> bytes:
    keys = encryption_keys()
    assert keys is not None  # as `_check_encryption` has found
    from messages.keys import CannotOpen  # noqa: PLC0415

    try:
        return keys.open(header.encrypted_with, data, _bound_to(header))
    except CannotOpen as fault:
        raise Untrusted(str(fault)) from None


def _bound_to(header: Header) -> str:
    return f"snapshot {header.generation} of {header.image_id}"


def pack(header: Header, payload: bytes, key: bytes) -> list[bytes]:
    """The parts of a file, in order. Raises BadSnapshot for one that would be too large."""
    text = header.model_dump_json().encode()
    number = FORMAT_ENCRYPTED if header.encrypted_with else FORMAT
    parts = [_START.pack(MAGIC, number, len(text)), text, payload]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    parts.append(digest.digest())
    if header.signed:
        signature = hmac.new(key, digestmod="sha256")
        for part in parts:
            signature.update(part)
        parts.append(signature.digest())
    if sum(map(len, parts)) > MOST_BYTES:
        raise BadSnapshot(f"the snapshot would be larger than {MOST_BYTES >> 20} MiB")
    return parts


def check(file: BinaryIO, key: bytes) -> Checked:
    """What a file says of itself, once every byte of it holds. Raises BadSnapshot, and what the file does."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start, text = _read_header(file, size)
    header = _parse_header(text)
    left = header.payload_bytes
    wanted = len(start) + len(text) + left + _DIGEST_BYTES * (2 if header.signed else 1)
    if size != wanted:
        raise BadSnapshot(f"it has {size} bytes instead of {wanted}: it is cut off or something was added")
    _check_key(header, key)
    _check_encryption(header, start)
    digest, signature = hashlib.sha256(), hmac.new(key, digestmod="sha256")
    piece = start + text
    while piece:
        digest.update(piece)
        if header.signed:
            signature.update(piece)
        piece = file.read(min(_PIECE_BYTES, left))
        left -= len(piece)
    told = file.read(_DIGEST_BYTES)
    if not hmac.compare_digest(digest.digest(), told):
        raise BadSnapshot("its bytes do not have its SHA-256: it is damaged; use another snapshot")
    signature.update(told)
    if header.signed and not hmac.compare_digest(signature.digest(), file.read(_DIGEST_BYTES)):
        raise Untrusted(f"it was signed with another key, or changed since; set {KEY_VARIABLE} to its key")
    return Checked(header, size, digest.hexdigest())


def read(data: bytes, key: bytes) -> Snapshot:
    """All of a file, checked. Raises BadSnapshot."""
    header, size, digest = check(io.BytesIO(data), key)
    end = size - _DIGEST_BYTES * (2 if header.signed else 1)
    payload = data[end - header.payload_bytes : end]
    if header.encrypted_with:
        payload = _decrypt(header, payload)
    try:
        envelope = Envelope.model_validate(plain_pickle.load(payload))
    except plain_pickle.NotPlain as error:
        raise BadSnapshot(f"its payload is not plain data: {error}; do not use it") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "it"
        raise BadSnapshot(f"its payload is not that of a snapshot: {where}: {fault['msg']}") from None
    if envelope.state.get("image_id") != header.image_id:
        raise BadSnapshot("its header and its state name two images; do not use it")
    return Snapshot(header, digest, envelope)


def _read_header(file: BinaryIO, size: int) -> tuple[bytes, bytes]:
    """The start of a file, and the text of its header."""
    if size > MOST_BYTES:
        raise BadSnapshot(f"it is larger than {MOST_BYTES >> 20} MiB")
    if size < _START.size:
        raise BadSnapshot("it is too short for a snapshot: it is cut off, or another kind of file")
    start = file.read(_START.size)
    magic, number, length = _START.unpack(start)
    if magic != MAGIC:
        raise BadSnapshot("it does not begin like a snapshot: it is damaged, or another kind of file")
    if number not in (FORMAT, FORMAT_ENCRYPTED):
        known = f"formats {FORMAT} and {FORMAT_ENCRYPTED}"
        raise BadSnapshot(f"its format is {number} and this version reads {known}; use a newer one")
    if length > min(_MOST_HEADER_BYTES, size - _START.size):
        raise BadSnapshot("its header is longer than it may be: it is cut off or damaged")
    return start, file.read(length)


def _parse_header(text: bytes) -> Header:
    try:
        return Header.model_validate(json.loads(text))
    except (ValueError, RecursionError):
        raise BadSnapshot("its header cannot be read: it is damaged; use another snapshot") from None


def _check_key(header: Header, key: bytes) -> None:
    if key and not header.signed:
        raise Untrusted(
            f"it is not signed, and {KEY_VARIABLE} is set: anybody may have written it; "
            f"unset {KEY_VARIABLE} only if you know that nobody has"
        )
    if header.signed and not key:
        raise Untrusted(f"it is signed; set {KEY_VARIABLE} to the key that it was signed with")


def _check_encryption(header: Header, start: bytes) -> None:
    _, number, _ = _START.unpack(start)
    if (number == FORMAT_ENCRYPTED) is not bool(header.encrypted_with):
        raise BadSnapshot("its format and its header disagree whether it is encrypted; do not use it")
    keys = encryption_keys()
    if header.encrypted_with and (keys is None or header.encrypted_with not in keys.by_id):
        raise Untrusted(
            f"it is encrypted with the key {header.encrypted_with!r}, which is not in {KEYS_VARIABLE}; "
            "add it there"
        )
