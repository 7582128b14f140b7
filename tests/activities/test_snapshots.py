"""A snapshot that is not exactly what was written is refused, and none can make its reader do anything."""

import hashlib
import hmac
import json
import os
import pickle
import random
import signal
import struct
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.snapshots import plain_pickle
from activities.snapshots.format import BadSnapshot, read
from activities.snapshots.places import Place
from activities.snapshots.writing import save
from messages.files import SnapshotOrder
from testbed.hostile.snapshots import in_a_file
from testbed.processes import MAY_MOUNT, ROOT
from tests.activities import killed_writer
from workflows.image_state import ImageState

GOOD = (ROOT / "tests" / "snapshots" / "format-1.image").read_bytes()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATE: dict[str, Any] = {"image_id": "one", "started_at": NOW.isoformat(), "text": "été"}
PROTO = b"\x80\x04"
KEY = b"secret"


def a_file(generation: int = 1, key: bytes = b"", started_at: datetime | None = NOW) -> bytes:
    payload = plain_pickle.dump({"format": 1, "state": STATE, "memory": []})
    return in_a_file(payload, generation=generation, key=key, started_at=started_at)


def an_order(keep: int = 10) -> SnapshotOrder:
    return SnapshotOrder(image_id="one", place="kept", keep=keep, generation=1)


# --- what was written ---


def test_the_recorded_snapshot_is_loaded_by_this_version() -> None:
    snapshot = read(GOOD, b"")
    assert (snapshot.header.generation, snapshot.header.signed) == (7, False)
    state = ImageState.model_validate(snapshot.envelope.state)
    assert [log.task_id for log in state.window] == ["task-0", "task-1", "task-2"]
    (memory,) = snapshot.envelope.memory
    assert (memory["raw"], memory["n"], memory["vector"]) == (b"\x00\xff", 2**70, [0.25, -1.5])


def test_a_reader_written_from_the_page_reads_what_this_version_writes() -> None:
    """docs/snapshots.md in twelve lines, with nothing of ours."""
    data = a_file(7, KEY)
    magic, number, length = struct.unpack_from(">12sHI", data)
    header = json.loads(data[18 : 18 + length])
    end = 18 + length + header["payload_bytes"]
    payload, sha256, signature = data[18 + length : end], data[end : end + 32], data[end + 32 :]
    assert (magic, number) == (b"LivingImage\n", 1)
    assert (header["image_id"], header["generation"], header["signed"]) == ("one", 7, True)
    assert datetime.fromisoformat(header["written_at"]) == datetime.fromisoformat(header["started_at"]) == NOW
    assert hashlib.sha256(payload).hexdigest() == header["payload_sha256"]
    assert hashlib.sha256(data[:end]).digest() == sha256
    assert hmac.digest(KEY, data[: end + 32], "sha256") == signature
    assert pickle.loads(payload) == {"format": 1, "state": STATE, "memory": []}


@pytest.mark.parametrize(("good", "key"), [(GOOD, b""), (a_file(key=KEY), KEY)], ids=["plain", "signed"])
def test_any_flipped_byte_and_any_truncation_is_refused(good: bytes, key: bytes) -> None:
    assert read(good, key).header.signed == bool(key)
    chance = random.Random(1)
    for _ in range(1000):
        place, change = chance.randrange(len(good)), chance.randrange(1, 256)
        flipped = good[:place] + bytes([good[place] ^ change]) + good[place + 1 :]
        with pytest.raises(BadSnapshot):
            read(flipped, key)
        with pytest.raises(BadSnapshot):
            read(good[:place], key)
    for more in (b"\x00", good):
        with pytest.raises(BadSnapshot, match="something was added"):
            read(good + more, key)


def test_a_signed_file_needs_its_key_and_stripping_the_signature_does_not_help() -> None:
    signed, unsigned = a_file(key=KEY), a_file()
    assert read(signed, KEY).envelope.state == STATE
    with pytest.raises(BadSnapshot, match="it is signed; set LIVING_IMAGE_KEY"):
        read(signed, b"")
    with pytest.raises(BadSnapshot, match="another key"):
        read(signed, b"other")
    with pytest.raises(BadSnapshot, match="it is not signed, and LIVING_IMAGE_KEY is set"):
        read(unsigned, KEY)
    with pytest.raises(BadSnapshot):
        read(signed[:-32], KEY)


# --- crafted payloads ---


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("touch it-ran",)


CRAFTED = {
    "code": pickle.dumps(Runs(), protocol=4),
    "code of protocol 0": b"cos\nsystem\n(S'touch it-ran'\ntR.",
    "import": PROTO + b"cos\nsystem\n.",
    "import from the stack": PROTO + b"\x8c\x02os\x8c\x06system\x93.",
    "persistent id": PROTO + b"Pid\n.",
    "memo of two billion": PROTO + b"Nr\xff\xff\xff\x7f.",
    "back reference": PROTO + b"]\x94h\x00a.",
    "bytes beyond the end": PROTO + b"B\xff\xff\xff\xff.",
    "bytes of eight-byte length": PROTO + b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "bytearray": PROTO + b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "a number beyond the end": PROTO + b"\x8b\xff\xff\xff\x7f.",
    "a frame beyond the end": PROTO + b"\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",
    "nested": PROTO + b"]" * 100_000 + b"a" * 99_999 + b".",
    "ten million dicts": PROTO + b"](" + b"}" * 10_000_000 + b"e.",
    "keys that are no text": PROTO + b"}(K\x01K\x02u.",
    "nothing": b"",
    "no end": PROTO + b"N",
    "two values": PROTO + b"NN.",
    "an empty stack": PROTO + b".",
    "a mark too few": PROTO + b"}u.",
    "an extension": PROTO + b"\x82\x01.",
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_pickle_is_refused_and_nothing_of_it_is_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSnapshot, match="not plain data"):
        read(in_a_file(CRAFTED[name]), b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [[], {"format": 2, "state": {}, "memory": []}, {"format": 1}])
def test_a_payload_of_another_shape_is_refused(value: object) -> None:
    with pytest.raises(BadSnapshot, match="not that of a snapshot"):
        read(in_a_file(plain_pickle.dump(value)), b"")


@pytest.mark.parametrize("value", [{"when": NOW}, {1: 2}, {"pair": (1, 2)}, {"names": {"a"}}, Runs()])
def test_what_could_not_be_loaded_is_not_written(value: object) -> None:
    with pytest.raises(plain_pickle.NotPlain):
        plain_pickle.dump(value)


# --- places ---


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "kept").iterdir())


def test_the_newest_are_kept_and_a_bad_one_never_counts_as_good(tmp_path: Path) -> None:
    place = Place("kept", tmp_path, "one")
    place.make()
    for generation in range(1, 6):
        (tmp_path / "kept" / f"one.{generation:08d}.image").write_bytes(a_file(generation))
    for generation in (4, 5):
        (tmp_path / "kept" / f"one.{generation:08d}.image").write_bytes(b"broken")
    (tmp_path / "kept" / "another.00000001.image").write_bytes(b"not ours")
    place.prune(1, b"")
    assert kept(tmp_path) == [
        "another.00000001.image",
        *(f"one.{generation:08d}.image" for generation in (3, 4, 5)),
    ]
    good = place.newest_good(b"")
    assert good is not None
    assert good.header.generation == 3


@pytest.mark.parametrize("earlier", [NOW - timedelta(days=1), None], ids=["earlier", "of an early version"])
def test_the_last_good_one_of_an_earlier_life_stays(tmp_path: Path, earlier: datetime | None) -> None:
    place = Place("kept", tmp_path, "one")
    place.make()
    for generation in range(1, 8):
        file = a_file(generation, started_at=earlier if generation < 4 else NOW)
        (tmp_path / "kept" / f"one.{generation:08d}.image").write_bytes(file)
    (tmp_path / "kept" / "one.00000003.image").write_bytes(b"broken")
    place.prune(2, b"")
    assert [found.generation for found in place.all()] == [7, 6, 2]


def test_what_may_be_good_with_another_key_is_left_alone(tmp_path: Path) -> None:
    place = Place("kept", tmp_path, "one")
    place.make()
    for generation, key in enumerate((b"", b"other", b"other", KEY, KEY, KEY), 1):
        (tmp_path / "kept" / f"one.{generation:08d}.image").write_bytes(a_file(generation, key))
    place.prune(2, KEY)
    assert [found.generation for found in place.all()] == [6, 5, 3, 2, 1]


@pytest.mark.skipif(not MAY_MOUNT, reason="needs the right to mount")
def test_a_full_disk_is_told_and_leaves_the_last_good_one_and_no_rubbish(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    script = 'mount -t tmpfs -o size=64k none "$1/kept" && exec "$2" -m "$3" "$1"'
    program = "tests.activities.small_disk"
    under = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, program]
    done = subprocess.run(under, cwd=ROOT, capture_output=True, text=True, check=False)
    told, left, then = done.stdout.splitlines()
    assert (told, left, then) == (
        "[Errno 28] No space left on device",
        f"['{'i' * 64}.00000001.image']",
        "2",
    )


async def test_a_file_that_may_not_grow_leaves_the_last_good_one_and_no_rubbish(tmp_path: Path) -> None:
    await save(an_order(), STATE, tmp_path)
    before = kept(tmp_path)
    with pytest.raises(OSError, match="File too large"):
        await save(an_order(), {**STATE, "more": "x" * 100_000}, tmp_path, memories=where_files_may_not_grow)
    assert kept(tmp_path) == before
    # The process that writes is used again: the disk has room now.
    await save(an_order(), {**STATE, "more": "x"}, tmp_path, memories=where_they_may)
    assert kept(tmp_path) == ["one.00000001.image", "one.00000002.image"]


def where_files_may_not_grow(image_id: str) -> list[dict[str, Any]]:
    """Called in the process that writes: from now on a file of it may have 10 kB."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    return []


def where_they_may(image_id: str) -> list[dict[str, Any]]:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return []


# --- kills ---


@pytest.mark.timeout(600)  # dozens of programs one after the other
def test_a_writer_killed_at_any_step_leaves_the_last_good_snapshot(tmp_path: Path) -> None:
    met = set()
    for step in range(1, 40):
        folder = tmp_path / str(step)
        place = Place("kept", folder, "one")
        place.make()
        (folder / "kept" / "one.00000001.image").write_bytes(a_file())
        program = [sys.executable, "-m", killed_writer.__name__, str(step), str(folder)]
        ended = subprocess.run(program, cwd=ROOT, check=False).returncode
        good = place.newest_good(b"")
        assert good is not None
        assert len(place.all()) == good.header.generation
        met.add((good.header.generation, bool(list((folder / "kept").glob(".*.tmp")))))
        place.clear()
        assert all(name.startswith("one.") for name in kept(folder))
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    # Nothing yet; a whole or half temporary file; replaced.
    assert met == {(1, False), (1, True), (2, False)}


def test_nothing_is_lost_of_a_state_that_version_0_1_0_wrote() -> None:
    recorded = read((ROOT / "tests" / "snapshots" / "a-life.image").read_bytes(), b"").envelope.state
    today = ImageState.model_validate(recorded).model_dump()
    kept = today.pop("ledger") | today
    assert recorded.keys() <= kept.keys()
    assert [kept[name] for name in ("revision", "image_id", "seen_logs")] == [
        recorded[name] for name in ("revision", "image_id", "seen_logs")
    ]
    assert len(kept["amendments"]) == len(recorded["amendments"]) > 0
