"""Writes the snapshot that every later version has to load: `python -m tests.record_snapshot`.

The same bytes each time, as long as the format and dill's pickles stay; see
tests/activities/test_snapshots.py.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from activities.plain_pickle import dump
from activities.snapshot_format import Header, pack
from tests.workflows.image_states import a_log, a_state

RECORDED = Path(__file__).parent / "snapshots" / "format-1.image"
WRITTEN_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def recorded_state() -> dict[str, object]:
    state = a_state()
    for number in range(3):
        state.record_log(a_log(f"task-{number}"))
    state.put_aside("task_completed", "no task runs here", {"task": "été"}, WRITTEN_AT)
    return state.model_dump(mode="json", exclude={"keeping"})


def in_a_file(
    payload: bytes,
    image_id: str = "one",
    generation: int = 1,
    key: bytes = b"",
    started_at: datetime | None = WRITTEN_AT,
) -> bytes:
    """A snapshot with this payload, whatever that is."""
    header = Header(
        image_id=image_id,
        started_at=started_at,
        generation=generation,
        written_at=WRITTEN_AT,
        payload_bytes=len(payload),
        payload_sha256=hashlib.sha256(payload).hexdigest(),
        library="dill",
        signed=bool(key),
    )
    return b"".join(pack(header, payload, key))


def record() -> bytes:
    memory = [{"task_id": "task-0", "text": "été", "vector": [0.25, -1.5], "raw": b"\x00\xff", "n": 2**70}]
    payload = dump({"format": 1, "state": recorded_state(), "memory": memory})
    return in_a_file(payload, "i" * 64, generation=7)


if __name__ == "__main__":
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_bytes(record())
