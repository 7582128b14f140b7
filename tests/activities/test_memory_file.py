"""The file of the memories among others that use it: held, killed in mid-write, deleted, without room."""

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import apsw
import pytest

from activities.memory.store import MemoryStore
from testbed.processes import MAY_MOUNT, ROOT
from tests.activities.entries import entry
from tests.activities.holding import ALONE, held


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return MemoryStore(tmp_path / "memory.db")


# --- somebody else holds it ---


def test_readers_need_nothing_from_one_who_writes(store: MemoryStore) -> None:
    store.add([entry()])
    with held(store.path):
        assert list(store.task_ids("image")) == ["trees"]
        assert store.by_words("image", "trees", besides="", least=0, most=1)


@pytest.mark.parametrize("hurry", [False, True])
def test_a_writer_waits_for_another_program_for_a_while_and_gives_up(store: MemoryStore, hurry: bool) -> None:
    store.add([entry()])
    writer = store.in_a_hurry() if hurry else store
    with held(store.path), pytest.raises(apsw.BusyError):
        writer.add([entry("new")])
    assert writer.add([entry("new")]) == 1


def test_a_file_that_somebody_wants_alone_is_busy_and_not_broken(store: MemoryStore) -> None:
    store.add([entry()])
    store.close()
    with held(store.path, ALONE), pytest.raises(apsw.BusyError):
        store.in_a_hurry().task_ids("image")
    assert list(store.task_ids("image")) == ["trees"]


def test_who_waits_for_the_file_holds_up_no_other_thread(store: MemoryStore) -> None:
    store.add([entry()])

    def wait() -> None:
        with contextlib.suppress(apsw.BusyError):
            store.add([entry("new")])

    with held(store.path):
        waiting = threading.Thread(target=wait)
        waiting.start()
        steps = 0
        while waiting.is_alive():
            time.sleep(0.01)
            steps += 1
    # It waits for five seconds. A thread that waited inside SQLite would let us have a handful of steps.
    assert steps > 20


def test_threads_that_write_at_once_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.memory.store.PATIENCE_SECONDS", 60)  # on a busy machine a turn is long
    store = MemoryStore(tmp_path / "memory.db")

    def write(name: int) -> None:
        for number in range(20):
            store.add([entry(f"{name}-{number}")])

    threads = [threading.Thread(target=write, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.task_ids("image")) == 120


# --- it changes under a store in use ---


def checkpointed(store: MemoryStore) -> None:
    other = apsw.Connection(str(store.path))
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    other.close()


def test_a_file_that_is_overwritten_is_begun_anew(store: MemoryStore) -> None:
    store.add([entry()])
    checkpointed(store)
    store.path.write_bytes(b"this is no database" * 1000)
    assert store.task_ids("image") == {}
    assert store.add([entry()]) == 1


def test_a_file_of_another_version_that_takes_its_place_is_begun_anew(
    store: MemoryStore, tmp_path: Path
) -> None:
    store.add([entry()])
    other = apsw.Connection(str(tmp_path / "other.db"))
    other.execute("PRAGMA user_version = 99")
    other.close()
    (tmp_path / "other.db").replace(store.path)
    assert store.task_ids("image") == {}
    assert store.add([entry()]) == 1


def test_another_memory_that_takes_its_place_is_read_without_the_old_ones_log(
    store: MemoryStore, tmp_path: Path
) -> None:
    store.add([entry(f"task-{number}") for number in range(200)])
    other = MemoryStore(tmp_path / "other.db")
    other.add([entry("other")])
    other.close()
    other.path.replace(store.path)
    assert list(store.task_ids("image")) == ["other"]


@pytest.mark.parametrize("lost", [("",), ("-wal",), ("-shm",), ("-wal", "-shm")])
def test_a_part_of_it_that_is_deleted_harms_nothing_that_comes_later(
    store: MemoryStore, lost: tuple[str, ...]
) -> None:
    store.add([entry(f"task-{number}") for number in range(200)])
    for suffix in lost:
        store.path.with_name(store.path.name + suffix).unlink()
    store.add([entry("new")])
    assert "new" in store.task_ids("image")
    again = MemoryStore(store.path)
    assert again.task_ids("image") == store.task_ids("image")
    assert again.by_words("image", "trees", besides="", least=0, most=1)


WRITER = """
import sys
from pathlib import Path
from activities.memory import store as stores
stores.PATIENCE_SECONDS = 60  # who waits and when is up to a busy machine
store = stores.MemoryStore(Path(sys.argv[1]))
own = {"image_id": "image", "task": "trees", "synthesis": "yes " * 2000}
own["finished_at"] = "2026-01-01T12:00:00Z"
number = 0
while True:
    store.add([own | {"task_id": f"{sys.argv[2]}-{number}-{each}"} for each in range(20)])
    number += 1
    print(number, flush=True)
"""


@contextmanager
def writer(path: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", WRITER, str(path), name]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_process_that_is_killed_in_mid_write_harms_neither_the_file_nor_the_other_writer(
    store: MemoryStore,
) -> None:
    with writer(store.path, "other") as other:
        for number in range(5):
            with writer(store.path, f"victim{number}") as victim:
                assert victim.stdout is not None
                victim.stdout.readline()
                time.sleep(random.random() / 10)
                victim.send_signal(signal.SIGKILL)
            kept = sum(task_id.startswith(f"victim{number}-") for task_id in store.task_ids("image"))
            assert (kept > 0, kept % 20) == (True, 0)
        assert other.poll() is None
    check = apsw.Connection(str(store.path))
    assert check.pragma("integrity_check") == "ok"
    check.close()


def test_a_file_that_is_deleted_while_two_processes_write_is_made_anew_by_both(store: MemoryStore) -> None:
    with ExitStack() as stack:
        writers = [stack.enter_context(writer(store.path, name)) for name in "ab"]
        for process in writers:
            assert process.stdout is not None
            process.stdout.readline()
        for file in store.path.parent.glob("memory.db*"):
            file.unlink(missing_ok=True)  # who writes may have been faster with the log of what is gone
        seen: set[str] = set()
        until = time.monotonic() + 60
        while seen != {"a", "b"} and time.monotonic() < until:
            seen = {task_id[0] for task_id in store.task_ids("image")}
            time.sleep(0.01)
        assert [process.poll() for process in writers] == [None, None], "it ended"
    assert seen == {"a", "b"}


# --- no room, no right ---


@pytest.mark.skipif(not MAY_MOUNT, reason="needs the right to mount")
def test_on_a_full_or_read_only_disk_what_is_there_is_found_and_later_it_goes_on(tmp_path: Path) -> None:
    mounted = (
        'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$0" -m tests.activities.memory_on_small_disk "$1"'
    )
    run = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, sys.executable, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    full, found, read_only, found_again, new = run.stdout.splitlines()
    assert full.startswith("FullError: ")
    assert read_only.startswith(("ReadOnlyError: ", "CantOpenError: ", "IOError: "))
    assert found == found_again == "['trees']"
    assert new == "1"
