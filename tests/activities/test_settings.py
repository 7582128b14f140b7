"""settings.toml is read, previewed and rewritten as its people expect."""

import os
import pwd
import re
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from temporalio.testing import ActivityEnvironment

from activities.settings import SettingsFiles
from activities.settings_rewriting import BACKUPS_KEPT
from configuration import InvalidSettings
from configuration.reading import load_settings
from messages.files import Rewrite, RewriteReceipt
from messages.loops import Change
from messages.requests import Decision
from tests.activities.rewriting import failure
from tests.activities.settings_files import (
    LOOP,
    SHIPPED,
    THRESHOLD,
    TURNS,
    backups,
    edit,
    everything,
    rewrite,
    turns,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(SHIPPED, encoding="utf-8")
    return path


# --- reading --------------------------------------------------------------------------------------


def test_reading_tells_the_values_their_digest_and_the_owner(path: Path) -> None:
    found = SettingsFiles(path).read_settings()
    assert found.settings == load_settings(path)
    assert found.digest == found.settings.digest()
    assert found.owner == pwd.getpwuid(path.stat().st_uid).pw_name
    assert found.last_loop == ""


@pytest.mark.parametrize("loop_id", [LOOP, "a.b/loop/1", "straße/%2F é~.toml", "../../x\\y z"])
def test_the_last_loop_is_told_while_the_file_holds_what_it_wrote(path: Path, loop_id: str) -> None:
    rewrite(path, turns(4, 3, loop_id))
    assert len(backups(path)) == 1
    assert SettingsFiles(path).read_settings().last_loop == loop_id
    edit(path, "window = 100", "window = 90")
    assert SettingsFiles(path).read_settings().last_loop == ""


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("[system]\nimage_id = = 3\n", "(at line 2, column 12)", "Invalid value"),
        ("[system]\nimage_id = ", "(at line 2, the end of the file)", "Invalid value"),
        ("[system]\n[system]\n", "(at line 2, column 8)", "twice"),
        ("n = " + "9" * 5000, "settings.toml: ", "integer string conversion"),
        (SHIPPED.replace("max_turns = 4", "max_turns = 40"), "[autopoiesis] max_turns = 40", "equal to 10"),
        (SHIPPED.replace("max_turns = 4", ""), "[autopoiesis] max_turns", "is missing"),
        ("", "[system]", "is missing"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_place(path: Path, text: str, place: str, told: str) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path)
    assert str(path) in str(caught.value)
    assert place in str(caught.value)
    assert told in str(caught.value)
    error = failure(SettingsFiles(path).read_settings)
    assert (error.type, error.non_retryable, error.message) == ("InvalidSettings", True, str(caught.value))


def test_a_file_that_is_not_utf8_is_told_with_its_line(path: Path) -> None:
    path.write_bytes(b"# fine\n# caf\xe9\n")
    with pytest.raises(InvalidSettings, match=r"settings\.toml, line 2: not UTF-8 text; save the file as"):
        load_settings(path)


def test_a_missing_file_a_dead_link_and_a_folder_are_told(path: Path) -> None:
    dead, around = path.with_name("dead.toml"), path.with_name("around.toml")
    dead.symlink_to("nowhere.toml")
    around.symlink_to("around.toml")
    for place in (path.with_name("none.toml"), dead, around, path.parent):
        for action in (
            SettingsFiles(place).read_settings,
            lambda place=place: SettingsFiles(place).preview_rewrite(turns(4, 3)),
            lambda place=place: rewrite(place, turns(4, 3)),
        ):
            error = failure(action)
            assert (error.type, error.non_retryable) == ("SettingsUnreadable", False)
            assert error.message.startswith(f"{place} cannot be read (")
    with pytest.raises(OSError, match="put the file there"):
        load_settings(path.with_name("none.toml"))


# --- previewing -----------------------------------------------------------------------------------


def test_a_preview_shows_the_change_and_writes_nothing(path: Path) -> None:
    before = everything(path.parent)
    preview = SettingsFiles(path).preview_rewrite(turns(4, 3))
    assert preview.stale == []
    lines = preview.diff.splitlines()
    assert lines[:2] == ["--- settings.toml", "+++ settings.toml (proposed)"]
    assert [line for line in lines[2:] if line[0] in "+-"] == ["-max_turns = 4", "+max_turns = 3"]
    assert everything(path.parent) == before


def test_a_preview_tells_nothing_of_how_a_person_is_notified(path: Path) -> None:
    text = path.read_text()
    governance = text[text.index("[governance]") : text.index("[motivator]")]
    own = "[governance]\napproval_timeout = '7d'\nnotify = [\n  'https://example.org/hook?key=s3cret',\n]\n"
    beside = re.sub(r"\[autopoiesis\]\n(#.*\n)+", f"{own}[autopoiesis]\n", text.replace(governance, ""))
    path.write_text(beside)
    diff = SettingsFiles(path).preview_rewrite(turns(4, 3)).diff
    assert '\n   "…",\n ]\n [autopoiesis]\n-max_turns = 4\n' in diff
    assert "s3cret" not in diff


def test_a_preview_names_the_keys_a_person_has_changed(path: Path) -> None:
    preview = SettingsFiles(path).preview_rewrite(turns(5, 6))
    assert (preview.diff, preview.stale) == ("", [TURNS])


# --- rewriting ------------------------------------------------------------------------------------


def test_a_rewrite_changes_the_named_values_and_nothing_else(path: Path) -> None:
    order = Rewrite(
        loop_id=LOOP,
        changes=[Change(key=TURNS, old=4, new=5), Change(key=THRESHOLD, old=0.4, new=0.5)],
    )
    receipt = rewrite(path, order)
    after = SHIPPED.replace("max_turns = 4", "max_turns = 5")
    after = after.replace("convergence_threshold = 0.4", "convergence_threshold = 0.5")
    assert path.read_text(encoding="utf-8") == after
    assert receipt.settings == load_settings(path)
    assert (receipt.stale, receipt.digest) == ([], load_settings(path).digest())
    (backup,) = backups(path)
    assert backup.read_text(encoding="utf-8") == SHIPPED
    assert backup.name.startswith("0001.living-image%2Floop%2F3.")
    assert backup.name.endswith(f".{receipt.digest}.toml")


def test_a_rewrite_asked_for_twice_changes_nothing_the_second_time(path: Path) -> None:
    first = rewrite(path, turns(4, 3))
    before, inode = everything(path.parent), path.stat().st_ino
    assert rewrite(path, turns(4, 3)) == first
    assert everything(path.parent) == before
    assert path.stat().st_ino == inode


@pytest.mark.parametrize("other", [("window = 100", "window = 90"), ("# ", "#  ")])
def test_a_person_who_takes_a_rewrite_back_is_not_overruled_by_a_retry(
    path: Path, other: tuple[str, str]
) -> None:
    rewrite(path, turns(4, 3))
    edit(path, "max_turns = 3", "max_turns = 4")
    edit(path, *other)
    text = path.read_text(encoding="utf-8")
    again = rewrite(path, turns(4, 3))
    assert path.read_text(encoding="utf-8") == text
    assert len(backups(path)) == 1
    assert again.settings == load_settings(path)
    assert again.digest == load_settings(path).digest()


def test_an_image_begun_anew_under_the_same_name_is_heard(path: Path) -> None:
    rewrite(path, turns(4, 3), run_id="first life")
    path.write_text(SHIPPED, encoding="utf-8")
    rewrite(path, turns(4, 3), run_id="second life")
    assert load_settings(path).autopoiesis.max_turns == 3


def test_a_value_a_person_edited_meanwhile_is_stale_and_then_nothing_is_written(path: Path) -> None:
    edit(path, "max_turns = 4", "max_turns = 7")
    before = everything(path.parent)
    order = Rewrite(
        loop_id=LOOP,
        changes=[Change(key=THRESHOLD, old=0.4, new=0.5), Change(key=TURNS, old=4, new=3)],
    )
    receipt = rewrite(path, order)
    assert receipt.stale == [TURNS]
    assert receipt.settings == load_settings(path)
    assert everything(path.parent) == before


def test_the_same_edit_made_by_a_person_first_is_neither_stale_nor_written(path: Path) -> None:
    edit(path, "max_turns = 4", "max_turns = 0b11 # three")
    before = everything(path.parent)
    receipt = rewrite(path, turns(4, 3))
    assert receipt.stale == []
    assert receipt.digest == load_settings(path).digest()
    assert everything(path.parent) == before


@pytest.mark.parametrize("decision", [None, Decision(), Decision(verdict="reject", approver="Ada")])
def test_a_loop_without_an_approval_writes_nothing(path: Path, decision: Decision | None) -> None:
    before = everything(path.parent)
    order = turns(4, 3).model_copy(update={"decision": decision})
    error = failure(lambda: ActivityEnvironment().run(SettingsFiles(path).rewrite_settings, order))
    assert (error.type, error.non_retryable) == ("InvalidSettings", True)
    assert "rests on no approval" in error.message
    assert everything(path.parent) == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Change(key=TURNS, old=4, new=11), "max_turns = 11: must be less than or equal to 10"),
        (Change(key=TURNS, old=4, new=True), "max_turns = true: must be a valid integer"),
        (Change(key=TURNS, old=4, new=3.5), "max_turns = 3.5: must be a valid integer"),
        (Change(key="system.image_id", old="living-image", new="me"), "not for the image to change"),
        (Change(key="governance.approval_timeout", old="168h", new="1s"), "not for the image to change"),
        (Change(key="nothing", old=1, new=2), "not for the image to change"),
    ],
)
def test_an_order_the_settings_do_not_allow_is_refused_for_good(
    path: Path, change: Change, told: str
) -> None:
    before = everything(path.parent)
    order = Rewrite(loop_id=LOOP, changes=[change])
    for action in (lambda: rewrite(path, order), lambda: SettingsFiles(path).preview_rewrite(order)):
        error = failure(action)
        assert (error.type, error.non_retryable) == ("InvalidSettings", True)
        assert str(path) in error.message
        assert told in error.message
    assert everything(path.parent) == before


def test_mode_and_owner_are_kept_and_backups_are_no_more_open(path: Path) -> None:
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    before = path.stat()
    rewrite(path, turns(4, 3))
    (backup,) = backups(path)
    for after in (path.stat(), backup.stat()):
        assert stat.S_IMODE(after.st_mode) == 0o640
        assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_a_symbolic_link_stays_and_its_target_is_rewritten(path: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "mine.toml"
    link.symlink_to("../settings.toml")
    rewrite(link, turns(4, 3))
    assert link.readlink() == Path("../settings.toml")
    assert load_settings(path).autopoiesis.max_turns == 3
    assert len(backups(path)) == 1
    assert SettingsFiles(link).read_settings().last_loop == LOOP
    assert [child.name for child in (tmp_path / "links").iterdir()] == ["mine.toml"]


def test_the_newest_backups_are_kept_and_a_persons_own_files_among_them(path: Path) -> None:
    folder = path.parent / "settings.backups"
    folder.mkdir()
    (folder / "my own copy.toml").write_text("mine", encoding="utf-8")
    for number in range(BACKUPS_KEPT + 3):
        rewrite(path, turns(4 - number % 2, 3 + number % 2, f"living-image/loop/{number + 1}"))
    kept = sorted(child.name for child in folder.iterdir())
    assert kept.pop() == "my own copy.toml"
    assert [name[:4] for name in kept] == [f"{number:04d}" for number in range(4, BACKUPS_KEPT + 4)]
    assert SettingsFiles(path).read_settings().last_loop == f"living-image/loop/{BACKUPS_KEPT + 3}"


def test_attempts_at_the_same_time_come_to_one_rewrite(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.settings_rewriting.LOCKED_SECONDS", 60)
    together = threading.Barrier(4)

    def attempt(_: int) -> RewriteReceipt:
        together.wait()
        return rewrite(path, turns(4, 3))

    with ThreadPoolExecutor(4) as pool:
        receipts = list(pool.map(attempt, range(4)))
    assert all(receipt == receipts[0] for receipt in receipts)
    assert len(backups(path)) == 1
    assert len(list((path.parent / "settings.backups").iterdir())) == 1


# --- every layout ---------------------------------------------------------------------------------

VALUES: dict[str, dict[str, str]] = {
    "system": {
        "image_id": '"x"',
        "task_queue": "'x'",
        "max_concurrent_tasks": "0x2",
        "max_queued_tasks": "1_0",
    },
    "models": {
        "host": '""',
        "alfred": '"a # b"',
        "babs": '"""b"""',
        "brick": r'"\u00e9"',
        "robin": "'''r'''",
        "temperature": "6e-1",
        "max_answer_tokens": "700",
        "call_timeout": '"10m"',
        "max_concurrent_calls": "+2",
    },
    "autopoiesis": {"max_turns": "4", "convergence_threshold": "0.40"},
    "cadence": {"min_logs": "10", "check_every": '"15m"', "window": "100"},
    "governance": {"approval_timeout": '"7d"'},
}
SPACE = st.sampled_from(["", " ", "\t", "   "])
REMARK = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8).map("#".__add__)


@st.composite
def layouts(draw: Any) -> str:
    """The text of a settings file in any of TOML's layouts, with `{0}` and `{1}` for two of its values."""

    def name(key: str) -> str:
        return str(draw(st.sampled_from([key, f'"{key}"', f"'{key}'"])))

    def pair(section: str, key: str, prefix: str = "") -> str:
        mark = {"max_turns": "\0turns\0", "convergence_threshold": "\0threshold\0"}
        return f"{prefix}{name(key)}{draw(SPACE)}={draw(SPACE)}{mark.get(key, VALUES[section][key])}"

    top, below = [], []
    for section in draw(st.permutations(list(VALUES))):
        keys = draw(st.permutations(list(VALUES[section])))
        match draw(st.sampled_from(["table", "inline", "dotted"])):
            case "table":
                below.append(f"[{draw(SPACE)}{name(section)}{draw(SPACE)}]")
                below += [pair(section, key) for key in keys]
            case "inline":
                inner = f"{draw(SPACE)},{draw(SPACE)}".join(pair(section, key) for key in keys)
                top.append(f"{name(section)} ={draw(SPACE)}{{{draw(SPACE)}{inner}{draw(SPACE)}}}")
            case _:
                dot = f"{draw(SPACE)}.{draw(SPACE)}"
                top += [pair(section, key, name(section) + dot) for key in keys]
    ends = st.sampled_from(draw(st.sampled_from([["\n"], ["\r\n"], ["\n", "\r\n"]])))
    text = draw(st.sampled_from(["", "\ufeff"]))
    for line in draw(st.permutations(top)) + below:
        for _ in range(draw(st.integers(0, 1))):
            text += draw(SPACE) + draw(st.one_of(st.just(""), REMARK)) + draw(ends)
        text += draw(SPACE) + line + draw(SPACE) + draw(st.one_of(st.just(""), REMARK)) + draw(ends)
    return str(text if draw(st.booleans()) else text.rstrip("\r\n"))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(layout=layouts())
def test_no_layout_loses_more_than_the_old_values(layout: str) -> None:
    before = layout.replace("\0turns\0", "4").replace("\0threshold\0", "0.40")
    after = layout.replace("\0turns\0", "3").replace("\0threshold\0", "0.45")
    order = Rewrite(
        loop_id=LOOP,
        changes=[Change(key=THRESHOLD, old=0.4, new=0.45), Change(key=TURNS, old=4, new=3)],
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.toml"
        path.write_bytes(before.encode())
        rewrite(path, order)
        assert path.read_bytes().decode() == after
