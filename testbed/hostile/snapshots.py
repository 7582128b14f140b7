"""Snapshots that nobody of us wrote."""

import hashlib
import os
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from activities.snapshots import plain_pickle
from activities.snapshots.format import BadSnapshot, Header, pack, read
from testbed.hostile.texts import mutated
from testbed.hostile.words import scalars, values_with
from testbed.processes import ROOT

GOOD = (ROOT / "tests" / "snapshots" / "format-1.image").read_bytes()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROTO = b"\x80\x04"
RAN = "it-ran"
"""The file that is there once something of a snapshot was run."""


def in_a_file(
    payload: bytes,
    image_id: str = "one",
    generation: int = 1,
    key: bytes = b"",
    started_at: datetime | None = NOW,
) -> bytes:
    """A snapshot with this payload, whatever that is."""
    header = Header(
        image_id=image_id,
        started_at=started_at,
        generation=generation,
        written_at=NOW,
        payload_bytes=len(payload),
        payload_sha256=hashlib.sha256(payload).hexdigest(),
        library="dill",
        signed=bool(key),
    )
    return b"".join(pack(header, payload, key))


class Runs:
    def __reduce__(self) -> Any:
        return os.system, (f"touch {RAN}",)


_PLAIN = plain_pickle.dump(
    {"format": 1, "state": {"image_id": "one", "n": 2**70}, "memory": [{"raw": b"\0"}]}
)
_BOMBS = (
    *(pickle.dumps(Runs(), protocol=protocol) for protocol in range(6)),
    *(
        pickle.dumps({"format": 1, "state": Runs(), "memory": [Runs()]}, protocol=number)
        for number in (0, 2, 4)
    ),
    f"cos\nsystem\n(S'touch {RAN}'\ntR.".encode(),
    f"(S'touch {RAN}'\nios\nsystem\n.".encode(),
    PROTO + b"\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch it-ran\x85R.",
    PROTO + b"cbuiltins\neval\n\x8c\x26__import__('os').system('touch it-ran')\x85R.",
    PROTO + b"cos\nsystem\n)\x81}b.",
    PROTO + b"\x82\x01.",
    PROTO + b"Pid\n.",
    PROTO + b"]" * 50_000 + b"a" * 49_999 + b".",
    PROTO + b"B\xff\xff\xff\xff.",
    PROTO + b"\x8b\xff\xff\xff\x7f.",
)
_OPCODES = [bytes([number]) for number in range(256)]
_parts = st.one_of(
    st.sampled_from(_OPCODES), st.sampled_from(_BOMBS), st.binary(max_size=8), st.just(b"cos\nsystem\n")
)
payloads = st.one_of(
    st.sampled_from(_BOMBS),
    mutated(_PLAIN),
    st.sampled_from(_BOMBS).flatmap(mutated),
    st.lists(_parts, max_size=12).map(lambda parts: PROTO + b"".join(parts) + b"."),
    st.builds(lambda value: pickle.dumps(value, protocol=4), values_with(["format", "state", "memory"])),
    st.builds(
        lambda state, memory: pickle.dumps({"format": 1, "state": state, "memory": memory}, protocol=4),
        st.dictionaries(st.sampled_from(["image_id", "window", "ledger"]), scalars),
        st.lists(scalars, max_size=3),
    ),
)
snapshots = st.one_of(
    payloads.map(in_a_file), mutated(GOOD), payloads.map(in_a_file), st.binary(max_size=300)
)


def try_snapshot(folder: Path, data: bytes) -> None:
    """It is plain data, or refused; in either case nothing of it was run. Call it in the folder."""
    try:
        snapshot = read(data, b"")
    except BadSnapshot:
        snapshot = None
    assert not (folder / RAN).exists(), "it was run"
    assert snapshot is None or isinstance(snapshot.envelope.state, dict)
