"""Where settings.toml may lie: disks with limits of their own, files that no one should parse."""

import errno
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from activities.settings import SettingsFiles
from activities.settings_rewriting import check_writable, set_values
from configuration import InvalidSettings
from configuration.reading import MOST_BYTES, MOST_LINES, SettingsUnreadable, load_settings
from messages.loops import Change
from testbed.processes import MAY_MOUNT
from tests.activities import settings_files
from tests.activities.failing_disk import COMPILER, without_folder_sync
from tests.activities.rewriting import failure, run
from tests.activities.settings_files import ORDER, REWRITTEN, SHIPPED, everything, put_down, rewrite, turns
from tests.locking import locked
from workflows.orders.files import AT_ONCE

may_mount = pytest.mark.skipif(not MAY_MOUNT, reason="needs the right to mount")
may_compile = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")


def backups(path: Path) -> list[Path]:
    return list((path.parent / "settings.backups").iterdir())


# --- disks ----------------------------------------------------------------------------------------


@may_compile
@pytest.mark.parametrize("error", ["EINVAL", "ENOTSUP", "EBADF", "ENOSYS", "EACCES"])
def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path: Path, error: str) -> None:
    path = put_down(tmp_path / "f")
    disk = without_folder_sync(tmp_path, getattr(errno, error))
    assert run(settings_files.rewrite_once, path, **disk) == ["done"]
    assert path.read_text(encoding="utf-8") == REWRITTEN
    assert len(backups(path)) == 1


@may_compile
def test_a_broken_disk_is_told_before_the_file_is_changed(tmp_path: Path) -> None:
    path = put_down(tmp_path / "f")
    (told,) = run(settings_files.rewrite_once, path, **without_folder_sync(tmp_path, errno.EIO))
    assert told == f"SettingsNotWritable: {path} cannot be rewritten (Input/output error); see to its disk"
    assert path.read_text(encoding="utf-8") == SHIPPED
    assert list(everything(path.parent)) == [str(path)]
    rewrite(path)
    assert path.read_text(encoding="utf-8") == REWRITTEN


@may_compile
def test_a_disk_that_breaks_after_the_file_was_changed_does_not_undo_that(tmp_path: Path) -> None:
    path = put_down(tmp_path / "f")
    # The folder with the temporary file, the folder of the backups, and then that of the replaced file.
    disk = without_folder_sync(tmp_path, errno.EIO, synced=2)
    assert run(settings_files.rewrite_once, path, **disk) == ["done"]
    assert path.read_text(encoding="utf-8") == REWRITTEN
    rewrite(path)
    assert path.read_text(encoding="utf-8") == REWRITTEN


@pytest.mark.parametrize("after", ["broken", "gone", "too large"])
def test_a_retry_of_what_is_done_says_so_whatever_became_of_the_file(tmp_path: Path, after: str) -> None:
    path = put_down(tmp_path)
    first = rewrite(path)
    if after == "gone":
        path.unlink()
    else:
        path.write_text("no settings" if after == "broken" else "#" * (MOST_BYTES + 1), encoding="utf-8")
    before = everything(tmp_path)
    assert rewrite(path) == first
    assert everything(tmp_path) == before


@may_mount
@pytest.mark.parametrize("name", ["settings.toml", "my settings\t#1.toml"])
def test_a_file_of_the_same_disk_that_is_mounted_by_itself_is_told_at_once(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        path = put_down(Path(folder).resolve()).rename(Path(folder).resolve() / name)
        shutil.copy(path, apart := path.with_name("apart"))
        script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        under = ["unshare", "-m", "sh", "-c", script, "sh", str(apart), str(path)]
        told = run(settings_files.rewrite_as_nobody, path, under=under)
        assert told[0].startswith(f"{path} cannot be rewritten: the file is mounted by itself, so no other")
        assert told[1] == f"SettingsNotWritable: {told[0]}"
    check_writable(put_down(Path(tempfile.mkdtemp())))


@may_mount
def test_a_disk_that_is_mounted_for_reading_is_told_as_such(tmp_path: Path) -> None:
    path = put_down(tmp_path)
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    under = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path)]
    (told,) = run(settings_files.rewrite_once, path, under=under)
    assert told.endswith("is on a read-only file system; mount it for writing")


@may_mount
def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = put_down(tmp_path)
    script = (
        'cp "$1" "$2"/ && mkdir "$2/m" && mount -t tmpfs -o size=8k none "$2/m" && cp "$1" "$2/m/s.toml"'
        ' && shift 2 && "$@"; ls -A "$0"'
    )
    room = tmp_path / "room"
    room.mkdir()
    under = ["unshare", "-m", "sh", "-c", script, str(room / "m"), str(path), str(room)]
    told, *left = run(settings_files.rewrite_once, room / "m" / "s.toml", under=under)
    assert "s.toml cannot be rewritten (No space left on device" in told
    assert told.endswith("; free some space on its disk")
    assert left == ["s.backups", "s.toml"]


def test_a_lock_that_another_holds_is_told_after_a_while_and_does_no_harm(tmp_path: Path) -> None:
    path = put_down(tmp_path)
    with locked(tmp_path):
        error = failure(lambda: rewrite(path))
    assert (error.type, error.non_retryable) == ("SettingsNotWritable", False)
    assert f"another process is at work in {tmp_path}; let it finish" in error.message
    rewrite(path)
    assert path.read_text(encoding="utf-8") == REWRITTEN


def _attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def test_extended_attributes_and_access_lists_survive(tmp_path: Path) -> None:
    path = put_down(tmp_path)
    # Version 2; the owner, user 1234, group, mask and others, each with its rights.
    acl = bytes.fromhex(
        "02000000 01000600ffffffff 02000400d2040000 04000400ffffffff 10000400ffffffff 20000000ffffffff"
    )
    kept = []
    for name, value in (("user.mine", b"\x00kept"), ("user.empty", b""), ("system.posix_acl_access", acl)):
        try:
            os.setxattr(path, name, value)
        except OSError:
            continue  # a file system without
        kept.append(name)
    if not kept:
        pytest.skip("this file system has no extended attributes")
    before, mode = _attributes(path), path.stat().st_mode
    rewrite(path)
    (backup,) = backups(path)
    assert set(kept) <= set(before)
    for file in (path, backup):
        assert (_attributes(file), file.stat().st_mode) == (before, mode)


# --- texts ----------------------------------------------------------------------------------------


def test_a_key_that_is_added_to_a_file_of_windows_lines_has_such_a_line(tmp_path: Path) -> None:
    path = put_down(tmp_path)
    lines = [line for line in SHIPPED.splitlines() if not line.startswith(("recall", "[memory]", "goals ="))]
    path.write_bytes("\r\n".join([*lines, ""]).encode())
    added = [
        Change(key="memory.recall", old=3, new=5),
        Change(key="motivator.goals", old=False, new=True),
        Change(key="autopoiesis.max_turns", old=4, new=5),
    ]
    set_values(path, added, "by hand")
    after = path.read_bytes()
    assert b"recall = 5\r\n" in after
    assert b"goals = true\r\n" in after
    assert after.count(b"\n") == after.count(b"\r\n")
    assert load_settings(path).memory.recall == 5


TOO_MUCH = {
    "too large": (SHIPPED + "#" * 10_000_000, "is larger than the 1 MiB a settings file may have"),
    "too many lines": (
        SHIPPED + "#\n" * 500_000,
        "has more than the 10,000 lines a settings file may have, so it was not read; take out what is no",
    ),
    "nested lists": (f"x = {'[' * 5_000}{']' * 5_000}\n{SHIPPED}", "nested too deeply"),
    "nested tables": (f"x = {'{a=' * 5_000}1{'}' * 5_000}\n{SHIPPED}", "nested too deeply"),
    "a nested value": (
        SHIPPED.replace("max_turns = 4", f"max_turns = [{{{'a.' * 5_000}a = 1}}]"),
        "nested too deeply",
    ),
    "a deep key": (SHIPPED.replace("max_turns = 4", f"max_turns.{'a.' * 50_000}a = 1"), "nested too deeply"),
    "a deep key in quotes": (
        SHIPPED.replace("max_turns = 4", "'a'." * 50_000 + "a = 1"),
        "nested too deeply",
    ),
    "a deep table": (
        f"{SHIPPED}[{'a.' * 50_000}a]\nx = 1\n",
        f", line {SHIPPED.count(chr(10)) + 1}: lists or tables are nested too deeply",
    ),
    "a long key": (f"{'k' * 500_000} = 1\n{SHIPPED}", "kkk] is not a known section"),
    "a long key twice": (f"[{'k' * 300_000}]\n[{'k' * 300_000}]\n", "twice (at line 2"),
    "many keys": (
        "".join(f"k{number}=1\n" for number in range(9_800)) + SHIPPED,
        "[k2] is not a known section; remove it or correct its spelling; and 9,797 more",
    ),
    "a long value": (
        SHIPPED.replace('alfred = "', f'alfred = "{"x" * 900_000}'),
        "must have at most 120 characters",
    ),
}


def test_dots_in_words_make_no_deep_key(tmp_path: Path) -> None:
    path = put_down(tmp_path)
    wordy = SHIPPED.replace("max_turns = 4", f"max_turns = 4  # {'So it is. ' * 50}")
    path.write_text(wordy.replace('alfred = "', f'alfred = "{"v1." * 35}'))
    assert load_settings(path).models.by_persona()["ALFRED"].startswith("v1.v1.")


@pytest.mark.parametrize("text, told", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_text_of_any_size_and_depth_is_refused_at_once_and_in_few_words(
    tmp_path: Path, text: str, told: str
) -> None:
    path = put_down(tmp_path)
    path.write_text(text, encoding="utf-8")
    files = SettingsFiles(path)
    reading = (files.read_settings, lambda: files.preview_rewrite(ORDER))
    for action in (*reading, lambda: rewrite(path)):
        error = failure(action)
        # Nothing is wrong with an order to rewrite it: the file may be put right.
        refused = ("InvalidSettings", True) if action in reading else ("SettingsNotWritable", False)
        assert (error.type, error.non_retryable) == refused
        assert told in error.message
        assert error.message.startswith(str(path))
        assert len(error.message) < 1_000
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path)
    assert len(str(caught.value)) < 1_000


def test_a_file_as_large_as_may_be_is_rewritten_well_within_the_time_of_the_activity(tmp_path: Path) -> None:
    path = put_down(tmp_path)
    padding = MOST_LINES - SHIPPED.count("\n")
    line = "#" + "x" * ((MOST_BYTES - len(SHIPPED.encode())) // padding - 2) + "\n"
    path.write_text(SHIPPED + line * padding, encoding="utf-8")
    began = time.process_time()
    assert SettingsFiles(path).preview_rewrite(turns(4, 3)).stale == []
    assert time.process_time() - began < AT_ONCE.done_within.total_seconds()
    rewrite(path)
    assert load_settings(path).autopoiesis.max_turns == 3


@pytest.mark.parametrize("remark", ["." * 200, "a. b " * 200])
def test_dots_that_nest_nothing_are_no_fault(tmp_path: Path, remark: str) -> None:
    path = put_down(tmp_path)
    path.write_text(f"  # {remark}\n{SHIPPED}", encoding="utf-8")
    assert load_settings(path).autopoiesis.max_turns == 4


def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    os.mkfifo(path)
    with pytest.raises(SettingsUnreadable, match="it is a pipe"):
        load_settings(path)


def test_a_preview_of_long_lines_is_short_and_shows_the_change(tmp_path: Path) -> None:
    path = put_down(tmp_path)
    text = SHIPPED.replace("max_turns = 4", f"max_turns = 4 # {'y' * 900_000}")
    path.write_text(text, encoding="utf-8")
    preview = SettingsFiles(path).preview_rewrite(turns(4, 3))
    assert "\n-max_turns = 4 # yyy" in preview.diff
    assert "\n+max_turns = 3 # yyy" in preview.diff
    assert "… 899,617 more characters" in preview.diff
    assert len(preview.model_dump_json()) < 5_000
    rewrite(path)
    assert path.read_text(encoding="utf-8") == text.replace("max_turns = 4", "max_turns = 3")
