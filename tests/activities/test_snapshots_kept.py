"""A snapshot that was written is told as written, whatever its place cannot do besides."""

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from activities.disk import Locked
from activities.snapshots import places as snapshot_places
from activities.snapshots.writing import save
from messages.files import SnapshotOrder, SnapshotReceipt
from testbed.processes import ROOT
from tests.activities.failing_disk import COMPILER, without_folder_sync
from tests.locking import locked
from tests.workflows.image_states import a_state

STATE = a_state().model_dump(mode="json")


def saved(*what: Any) -> SnapshotReceipt:
    return asyncio.run(save(*what))


def order(keep: int = 10) -> SnapshotOrder:
    return SnapshotOrder(image_id=STATE["image_id"], place="kept", keep=keep, generation=1)


@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
@pytest.mark.parametrize("error", ["EINVAL", "EOPNOTSUPP", "EIO"])
def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path: Path, error: str) -> None:
    disk = without_folder_sync(tmp_path, getattr(errno, error))
    program = [sys.executable, "-m", "tests.activities.small_disk", str(tmp_path)]
    done = subprocess.run(
        program, cwd=ROOT, env=os.environ | disk, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in sorted((tmp_path / "kept").iterdir())] == [
        f"{STATE['image_id']}.{number:08d}.image" for number in (1, 2, 3)
    ]
    assert ("afterwards: [Errno 5]" in done.stderr) == (error == "EIO")


def test_an_old_one_that_cannot_be_removed_is_no_failure(tmp_path: Path) -> None:
    in_the_way = tmp_path / "kept" / f"{STATE['image_id']}.00000001.image"
    in_the_way.mkdir(parents=True)
    for number in range(3):
        saved(order(keep=1), {**STATE, "number": number}, tmp_path)
    assert [path.name[-10:] for path in sorted(in_the_way.parent.iterdir())] == ["0001.image", "0004.image"]


def test_a_lock_that_another_holds_is_told_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_places, "LOCKED_SECONDS", 0.5)
    saved(order(), STATE, tmp_path)
    with (
        locked(tmp_path / "kept"),
        pytest.raises(Locked, match=r"another process is at work in .*kept; let it finish, or end it"),
    ):
        saved(order(), {**STATE, "more": 1}, tmp_path)
    assert saved(order(), {**STATE, "more": 1}, tmp_path).generation == 2


def test_a_save_reads_no_kept_file_that_it_has_found_good_but_one_that_was_touched(tmp_path: Path) -> None:
    opened: list[str] = []

    def note(event: str, about: tuple[Any, ...]) -> None:
        if event == "open" and str(about[0]).endswith(".image"):
            opened.append(str(about[0]))

    sys.addaudithook(note)
    for number in range(3):
        saved(order(keep=2), {**STATE, "number": number}, tmp_path)
    newest = Path(saved(order(keep=2), {**STATE, "number": 3}, tmp_path).path)
    opened.clear()
    following = saved(order(keep=2), {**STATE, "number": 4}, tmp_path)
    assert {*opened} == {following.path}
    Path(following.path).write_bytes(newest.read_bytes()[:-1])
    assert saved(order(keep=2), {**STATE, "number": 4}, tmp_path).generation == following.generation + 1
    assert following.path in opened
