"""The bytes of a snapshot: how they are laid out, signed, checked and read. docs/snapshots.md describes them.

Nothing of a file is believed before its digests hold, and nothing in it is ever carried out.
"""

import hashlib
import hmac
import json
import os
import struct
from datetime import datetime
from importlib.metadata import version
from typing import Any, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from activities import plain_pickle

MAGIC = b"LivingImage\n"
FORMAT = 1
KEY_VARIABLE = "LIVING_IMAGE_KEY"
MOST_BYTES = 1 << 30
"""The largest file that is written or read: it is held in memory."""

_MOST_HEADER_BYTES = 4096
_START = struct.Struct(">12sHI")
_DIGEST_BYTES = 32


class BadSnapshot(ValueError):
    """A file that is no snapshot, is damaged or cannot be trusted; the message says which and what to do."""


class Header(BaseModel):
    """What a file says of itself. `payload_sha256` is equal for equal content."""

    model_config = ConfigDict(extra="ignore")

    image_id: str
    generation: int = Field(ge=1)
    written_at: AwareDatetime
    payload_bytes: int = Field(ge=0, le=MOST_BYTES)
    payload_sha256: str
    library: str
    signed: bool


class Envelope(BaseModel):
    """The payload. `state` is an ImageState in JSON mode, `memory` plain dicts of the memory store."""

    model_config = ConfigDict(strict=True)

    format: Literal[1]
    state: dict[str, Any]
    memory: list[dict[str, Any]]


class Snapshot(NamedTuple):
    header: Header
    sha256: str
    envelope: Envelope


def signing_key() -> bytes:
    """The key that signs snapshots; empty: they are not signed."""
    return os.environ.get(KEY_VARIABLE, "").encode()


def pack(payload: bytes, image_id: str, generation: int, written_at: datetime, key: bytes) -> list[bytes]:
    """The parts of a file, in order. Raises BadSnapshot for one that would be too large."""
    header = Header(
        image_id=image_id,
        generation=generation,
        written_at=written_at,
        payload_bytes=len(payload),
        payload_sha256=hashlib.sha256(payload).hexdigest(),
        library=f"dill {version('dill')}",
        signed=bool(key),
    )
    text = header.model_dump_json().encode()
    parts = [_START.pack(MAGIC, FORMAT, len(text)), text, payload]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    parts.append(digest.digest())
    if key:
        signature = hmac.new(key, digestmod="sha256")
        for part in parts:
            signature.update(part)
        parts.append(signature.digest())
    if sum(map(len, parts)) > MOST_BYTES:
        raise BadSnapshot(f"the snapshot would be larger than {MOST_BYTES >> 20} MiB")
    return parts


def check(data: bytes, key: bytes) -> tuple[Header, str, memoryview]:
    """The header, the SHA-256 and the payload of a file whose every byte is as it was written.

    Raises BadSnapshot.
    """
    header, start = _read_header(data)
    end = start + header.payload_bytes
    size = end + _DIGEST_BYTES * (2 if header.signed else 1)
    if len(data) != size:
        raise BadSnapshot(f"it has {len(data)} bytes instead of {size}: it is cut off or something was added")
    view = memoryview(data)
    digest = hashlib.sha256(view[:end]).digest()
    if not hmac.compare_digest(digest, data[end : end + _DIGEST_BYTES]):
        raise BadSnapshot("its bytes do not have its SHA-256: it is damaged; use another snapshot")
    _check_signature(view, header, key)
    return header, digest.hex(), view[start:end]


def read(data: bytes, key: bytes) -> Snapshot:
    """All of a file, checked. Raises BadSnapshot."""
    header, digest, payload = check(data, key)
    try:
        envelope = Envelope.model_validate(plain_pickle.load(bytes(payload)))
    except plain_pickle.NotPlain as error:
        raise BadSnapshot(f"its payload is not plain data: {error}; do not use it") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "it"
        raise BadSnapshot(f"its payload is not that of a snapshot: {where}: {fault['msg']}") from None
    if envelope.state.get("image_id") != header.image_id:
        raise BadSnapshot("its header and its state name two images; do not use it")
    return Snapshot(header, digest, envelope)


def _read_header(data: bytes) -> tuple[Header, int]:
    if len(data) > MOST_BYTES:
        raise BadSnapshot(f"it is larger than {MOST_BYTES >> 20} MiB")
    if len(data) < _START.size:
        raise BadSnapshot("it is too short for a snapshot: it is cut off, or another kind of file")
    magic, number, size = _START.unpack_from(data)
    if magic != MAGIC:
        raise BadSnapshot("it does not begin like a snapshot: it is damaged, or another kind of file")
    if number != FORMAT:
        raise BadSnapshot(f"its format is {number} and this version reads format {FORMAT}; use a newer one")
    if size > min(_MOST_HEADER_BYTES, len(data) - _START.size):
        raise BadSnapshot("its header is longer than it may be: it is cut off or damaged")
    end = _START.size + size
    try:
        return Header.model_validate(json.loads(data[_START.size : end])), end
    except (ValueError, RecursionError):
        raise BadSnapshot("its header cannot be read: it is damaged; use another snapshot") from None


def _check_signature(view: memoryview, header: Header, key: bytes) -> None:
    if key and not header.signed:
        raise BadSnapshot(
            f"it is not signed, and {KEY_VARIABLE} is set: anybody may have written it; "
            f"unset {KEY_VARIABLE} only if you know that nobody has"
        )
    if header.signed and not key:
        raise BadSnapshot(f"it is signed; set {KEY_VARIABLE} to the key that it was signed with")
    if header.signed:
        signature = hmac.new(key, view[:-_DIGEST_BYTES], "sha256").digest()
        if not hmac.compare_digest(signature, bytes(view[-_DIGEST_BYTES:])):
            raise BadSnapshot(
                f"it was signed with another key, or changed since; set {KEY_VARIABLE} to its key"
            )
