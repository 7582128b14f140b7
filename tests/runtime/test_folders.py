"""Which folders are images, and on which task queue: what is found on the disk alone."""

import logging
import os
from pathlib import Path

import pytest

from connection.problems import Problem
from runtime.folders import Folders
from testbed.world import edit, shipped_settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    root.mkdir()
    return root


def put(root: Path, name: str, queue: str = "queue", image_id: str = "") -> Path:
    (root / name).mkdir()
    return shipped_settings(root / name, {"system.image_id": image_id or name, "system.task_queue": queue})


def looked(folders: Folders) -> list[str]:
    """What a look finds that comes after another one, as what is found has to stay for two."""
    return [*folders.look(), *folders.look()]


def test_the_task_queue_is_the_one_that_is_said_or_that_most_name(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Folders(root).task_queue == "living-image"
    put(root, "a", "one")
    put(root, "b", "two")
    put(root, "c", "two")
    found = Folders(root)
    assert (found.task_queue, found.image_ids()) == ("two", ["b", "c"])
    [told] = caplog.messages
    assert told.startswith(
        'The image in a is not hosted: [system] task_queue = "one", and this worker serves "two"'
    )
    assert Folders(root, "one").image_ids() == ["a"]


def test_what_is_no_image_is_passed_over_or_told_in_one_sentence_and_holds_nobody_up(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = put(root, "good")
    (root / "empty").mkdir()
    (root / "file").touch()
    put(root, ".hidden")
    for name in ("pipe", "dangling", "directory", "device"):
        (root / name).mkdir()
    os.mkfifo(root / "pipe" / "settings.toml")
    (root / "dangling" / "settings.toml").symlink_to("nowhere")
    (root / "directory" / "settings.toml").mkdir()
    (root / "device" / "settings.toml").symlink_to("/dev/zero")
    put(root, os.fsdecode(b"caf\xe9"), image_id="cafe")
    put(root, "link-to-good").unlink()
    (root / "link-to-good" / "settings.toml").symlink_to(good)
    found = Folders(root)
    assert found.image_ids() == ["good"]
    told = sorted(message.split()[3] for message in caplog.messages)
    assert told == sorted(["$'caf\\351'", "dangling", "device", "directory", "link-to-good", "pipe"])
    assert looked(found) == []
    assert len(caplog.messages) == len(told)


def test_a_renamed_folder_is_the_same_image_and_a_copy_is_none_until_it_has_a_name(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(root, "a")
    found = Folders(root)
    (root / "a").rename(root / "b")
    assert looked(found) == ["a"]
    assert found.hosted.get("a") == root / "b" / "settings.toml"
    copy = put(root, "c", image_id="a")
    assert looked(found) == []
    assert caplog.messages[-1].endswith('image_id = "a" is the image in b; give this one another name')
    edit(copy, {"system.image_id": "c"})
    assert looked(found) == ["c"]


def test_a_file_that_names_another_image_is_that_image_s_and_the_first_waits_for_its_own(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = put(root, "a")
    found = Folders(root)
    edit(file, {"system.image_id": "other"})
    assert looked(found) == ["other"]
    assert found.hosted.get("a") is None
    [told] = caplog.messages
    assert told.startswith(f'a is hosted no more, for {file} names "other" by now; it lives on')


def test_a_broken_file_keeps_its_image_hosted_and_is_told_to_it(root: Path) -> None:
    file = put(root, "a")
    found = Folders(root)
    file.write_text("nothing of the kind")
    assert looked(found) == ["a"]
    assert found.hosted.get("a") == file


def test_where_the_folder_of_all_is_away_everybody_stays(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(root, "a")
    found = Folders(root)
    root.rename(root.with_name("away"))
    assert looked(found) == []
    assert found.image_ids() == ["a"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    root.with_name("away").rename(root)
    assert looked(found) == []
    with pytest.raises(Problem, match="correct --images"):
        Folders(root / "nowhere")
