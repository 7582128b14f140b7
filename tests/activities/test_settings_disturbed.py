"""A rewrite of settings.toml happens once and loses nothing, whoever is killed or edits, and whenever."""

import shutil
import tempfile
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError

from activities.settings import SettingsFiles
from configuration.reading import load_settings
from testbed.processes import MAY_MOUNT
from tests.activities import settings_files
from tests.activities.rewriting import run
from tests.activities.settings_files import (
    LOOP,
    REWRITTEN,
    SHIPPED,
    TURNS,
    backups,
    edit,
    everything,
    put_down,
    rewrite,
)


@pytest.fixture(scope="module")
def wreckage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    start, folder = tmp_path_factory.mktemp("start"), tmp_path_factory.mktemp("wreckage")
    put_down(start)
    run(settings_files.kill_at_every_step, start, folder)
    return folder


@pytest.fixture
def killed(wreckage: Path, tmp_path: Path) -> list[tuple[Path, bool]]:
    """Each file a killed rewrite leaves behind, and whether it is the rewritten one. Never a torn one."""
    found, states = [], set()
    for path in sorted(shutil.copytree(wreckage, tmp_path, dirs_exist_ok=True).glob("*/settings.toml")):
        text = path.read_text(encoding="utf-8")
        assert text in (SHIPPED, REWRITTEN)
        assert all(backup.read_text(encoding="utf-8") == SHIPPED for backup in backups(path))
        states.add((text == REWRITTEN, bool(backups(path)), bool(leftovers(path))))
        found.append((path, text == REWRITTEN))
    # Nothing yet; a temporary file; a backup as well; replaced: the kills have met every state.
    assert states == {(False, False, False), (False, False, True), (False, True, True), (True, True, False)}
    return found


def leftovers(path: Path) -> list[Path]:
    return list(path.parent.rglob("*.tmp"))


def complete(path: Path) -> None:
    """One more attempt, and all is as if nobody had been killed."""
    receipt = rewrite(path)
    assert path.read_text(encoding="utf-8") == REWRITTEN
    assert [backup.read_text(encoding="utf-8") for backup in backups(path)] == [SHIPPED]
    assert receipt.stale == []
    assert receipt.digest == load_settings(path).digest()
    assert SettingsFiles(path).read_settings().last_loop == LOOP
    assert leftovers(path) == []
    before = everything(path.parent)
    assert rewrite(path) == receipt
    assert everything(path.parent) == before


def test_a_rewrite_killed_anywhere_is_completed_once_by_a_retry(killed: list[tuple[Path, bool]]) -> None:
    for path, _ in killed:
        complete(path)


def test_a_retry_killed_anywhere_is_completed_once_by_the_next(
    killed: list[tuple[Path, bool]], tmp_path: Path
) -> None:
    furthest = [path for path, replaced in killed if not replaced][-1]
    run(settings_files.kill_at_every_step, furthest.parent, tmp_path / "again")
    for path in (tmp_path / "again").glob("*/settings.toml"):
        complete(path)


def test_an_edit_made_after_the_kill_is_never_overwritten_by_the_retry(
    killed: list[tuple[Path, bool]],
) -> None:
    for path, replaced in killed:
        # Back to the old value, which to a mere comparison looks as if nothing had happened yet.
        edit(path, "max_turns = 3" if replaced else "max_turns = 4", "max_turns = 4 # mine")
        edit(path, "window = 100", "window = 90")
        mine = path.read_text(encoding="utf-8")
        receipt = rewrite(path)
        assert receipt.digest == load_settings(path).digest()
        if replaced:
            assert path.read_text(encoding="utf-8") == mine
        else:
            assert path.read_text(encoding="utf-8") == mine.replace("max_turns = 4", "max_turns = 3")
            assert backups(path)[0].read_text(encoding="utf-8") == mine
        assert len(backups(path)) == 1
        assert leftovers(path) == []


@pytest.mark.parametrize("value", ["7 # mine", "3 # mine", "99 # mine"])
def test_a_retry_that_finds_nothing_to_do_leaves_only_the_persons_edit(
    killed: list[tuple[Path, bool]], value: str
) -> None:
    for path, replaced in killed:
        if replaced:
            continue
        edit(path, "max_turns = 4", f"max_turns = {value}")
        mine = path.read_text(encoding="utf-8")
        if value.startswith("99"):
            with pytest.raises(ApplicationError, match="max_turns = 99"):
                rewrite(path)
        else:
            receipt = rewrite(path)
            assert receipt.stale == ([] if value.startswith("3") else [TURNS])
        assert path.read_text(encoding="utf-8") == mine
        assert backups(path) == leftovers(path) == []


@pytest.mark.parametrize("value", ["7", "4"])
def test_an_edit_made_during_the_rewrite_is_kept(tmp_path: Path, value: str) -> None:
    start, folder = put_down(tmp_path / "start").parent, tmp_path / "edited"
    run(settings_files.edit_at_every_step, start, folder, "max_turns = 4", f"max_turns = {value} # mine")
    mine = SHIPPED.replace("max_turns = 4", f"max_turns = {value} # mine")
    lost = 0
    for path in folder.glob("*/settings.toml"):
        text = path.read_text(encoding="utf-8")
        assert text in (mine, mine.replace("max_turns = 4", "max_turns = 3"), REWRITTEN)
        lost += text == REWRITTEN
        assert leftovers(path) == []
    # Between the last look at the file and the replace nothing can be kept out.
    assert lost <= 1


@pytest.mark.parametrize("seed", range(5))
def test_a_rewrite_killed_again_and_again_at_random_happens_once(tmp_path: Path, seed: int) -> None:
    run(settings_files.kill_at_random, tmp_path, seed)
    path = tmp_path / "settings.toml"
    assert path.read_text(encoding="utf-8") == REWRITTEN
    assert [backup.read_text(encoding="utf-8") for backup in backups(path)] == [SHIPPED]
    assert leftovers(path) == []


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "culprit"),
    [(0o666, 0o777, None), (0o444, 0o777, "settings.toml"), (0o666, 0o555, ".")],
)
def test_a_file_or_folder_that_may_not_be_written_is_told_and_left_alone(
    file_mode: int, folder_mode: int, culprit: str | None
) -> None:
    # Not under tmp_path, whose parents are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        path = put_down(folder)
        path.chmod(file_mode)
        folder.chmod(folder_mode)
        checked, rewritten = run(settings_files.rewrite_as_nobody, path)
        folder.chmod(0o777)
        if culprit is None:
            assert (checked, rewritten) == ("done", "done")
            assert path.read_text(encoding="utf-8") == REWRITTEN
        else:
            told = f"{path} cannot be rewritten: {folder / culprit} is not writable for "
            assert checked.startswith(told)
            assert rewritten == f"SettingsNotWritable: {checked}"
            assert list(everything(folder)) == [str(path)]
            assert path.read_text(encoding="utf-8") == SHIPPED


@pytest.mark.skipif(not MAY_MOUNT, reason="needs the right to mount")
def test_a_file_that_is_a_mount_of_its_own_is_told_at_once() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        path, apart = put_down(Path(name).resolve()), Path(name, "apart")
        apart.mkdir()
        script = 'mount -t tmpfs none "$1" && cp "$2" "$1" && mount --bind "$1/settings.toml" "$2" && shift 2'
        under = ["unshare", "-m", "sh", "-c", f'{script} && exec "$@"', "sh", str(apart), str(path)]
        told = run(settings_files.rewrite_as_nobody, path, under=under)
        assert told[0].startswith(f"{path} cannot be rewritten: the file is mounted by itself")
        assert told[1] == f"SettingsNotWritable: {told[0]}"
