"""Writes the snapshot that every later version has to load: `python -m tests.record_snapshot`.

The same bytes each time, as long as the format and dill's pickles stay; see
tests/activities/test_snapshots.py.
"""

from datetime import UTC, datetime
from pathlib import Path

from activities.plain_pickle import dump
from activities.snapshot_format import pack
from tests.workflows.image_states import a_log, a_state

RECORDED = Path(__file__).parent / "snapshots" / "format-1.image"
WRITTEN_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def recorded_state() -> dict[str, object]:
    state = a_state()
    for number in range(3):
        state.record_log(a_log(f"task-{number}"))
    state.put_aside("task_completed", "no task runs here", {"task": "été"}, WRITTEN_AT)
    return state.model_dump(mode="json", exclude={"keeping"})


def record() -> bytes:
    memory = [{"task_id": "task-0", "text": "été", "vector": [0.25, -1.5], "raw": b"\x00\xff", "n": 2**70}]
    payload = dump({"format": 1, "state": recorded_state(), "memory": memory})
    return b"".join(pack(payload, "i" * 64, 7, WRITTEN_AT, b""))


if __name__ == "__main__":
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_bytes(record())
