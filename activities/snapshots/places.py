"""Where snapshots are kept: a folder of this machine, or whatever fsspec reaches. What is not async blocks.

In a folder a file appears whole or not at all: it is written beside its place, synced, and put there in one
step. Object stores do the same by themselves.
"""

import asyncio
import logging
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from activities.disk import Locked, sync_folder, try_lock
from activities.snapshots.format import (
    KEYS_VARIABLE,
    MOST_BYTES,
    BadSnapshot,
    Checked,
    Header,
    Untrusted,
    check,
)
from configuration import Settings
from messages.files import SnapshotReceipt

LOOK_EVERY_SECONDS = 0.1
LOCKED_SECONDS = 30.0
"""How long a writer waits for another. A large snapshot takes seconds; whoever asked is told of more."""

OBJECT_STORES = ("s3://", "gs://", "gcs://", "az://", "abfs://", "abfss://")
"""Where the snapshots of an image may go beside its own folder, if its worker has those of others too."""

log = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<image>.+)\.(?P<generation>\d{8,})\.image")


class NoPlace(OSError):
    """A place that cannot be reached or written; the message says which and what to do."""


class Stored(NamedTuple):
    """A snapshot as its name tells it; nothing of it has been read."""

    generation: int
    path: str


class Kept(NamedTuple):
    """A good snapshot in its place."""

    header: Header
    receipt: SnapshotReceipt


class Place:
    """The snapshots of one image in a folder, relative to `base`, or under a URL."""

    def __init__(self, where: str, base: Path, image_id: str) -> None:
        self._image_id = image_id
        self._prefix = f"{quote(image_id, safe='')}."
        self.fs, root = open_url(where, base)
        self.root = str(root).rstrip("/") or "/"
        self.folder = Path(self.root) if isinstance(self.fs, LocalFileSystem) else None

    def make(self) -> None:
        self.fs.makedirs(self.root, exist_ok=True)

    def clear(self) -> None:
        """Clear away what a killed worker has left; call it under the lock."""
        if self.folder is not None:
            for left in self.folder.glob(f".{self._prefix}*.tmp"):
                left.unlink(missing_ok=True)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """One writer at a time, across processes; as `disk.locked`, but without blocking. Raises Locked."""
        if self.folder is None:
            yield
            return
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            give_up_at = time.monotonic() + LOCKED_SECONDS
            while not try_lock(handle):
                if time.monotonic() > give_up_at:
                    raise Locked(self.folder)
                await asyncio.sleep(LOOK_EVERY_SECONDS)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """Where a file can be written that nobody takes for a snapshot; beside its place if that is local."""
        if self.folder is None:
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder) / "snapshot"
            return
        path = self.folder / f".{self._prefix}{uuid4().hex}.tmp"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def put(self, file: Path, generation: int) -> str:
        """Give a finished file its place and its name."""
        path = f"{self.root}/{self._prefix}{generation:08d}.image"
        if self.folder is None:
            self.fs.put_file(str(file), path)
        else:
            file.replace(path)
            try:
                sync_folder(self.folder)
            except OSError as error:  # it is there all the same, and is read back
                log.warning("%s was written; afterwards: %s", path, error)
        return path

    def all(self) -> list[Stored]:
        """Every snapshot of the image, newest first."""
        if not self.fs.exists(self.root):
            return []
        self.fs.invalidate_cache()
        found = []
        for path in self.fs.ls(self.root, detail=False):
            name = _NAME.fullmatch(str(path).rpartition("/")[2])
            if name and f"{name['image']}." == self._prefix:
                found.append(Stored(int(name["generation"]), str(path)))
        return sorted(found, reverse=True)

    def check(self, path: str, key: bytes) -> Kept:
        """What a snapshot says of itself, once every byte of it is known to be good. Raises BadSnapshot."""
        if self.folder is None:
            with self.fs.open(path, "rb") as file:
                header, size, sha256 = check(file, key)
        else:
            header, size, sha256 = _check_once(path, _identity(path), key, os.environ.get(KEYS_VARIABLE))
        if header.image_id != self._image_id:
            raise BadSnapshot(f"it is a snapshot of {header.image_id!r}")
        return Kept(
            header,
            SnapshotReceipt(path=self.address(path), bytes=size, sha256=sha256, generation=header.generation),
        )

    def address(self, path: str) -> str:
        """A path of this place as anybody can use it."""
        return str(self.fs.unstrip_protocol(path)) if self.folder is None else path

    def newest_good(self, key: bytes) -> Kept | None:
        for snapshot in self.all():
            with suppress(BadSnapshot, OSError):
                return self.check(snapshot.path, key)
        return None

    def prune(self, keep: int, key: bytes) -> None:
        """Remove what is older than the `keep` newest good ones; bad ones do not count.

        Of each earlier life of an image of this name (see `Header.started_at`) the last good one stays, and
        so does what another key may make good.
        """
        found = self.all()
        if len(found) <= keep:
            return
        lives: Counter[datetime | None] = Counter()
        present: datetime | None = None
        for snapshot in found:
            try:
                life = self.check(snapshot.path, key).header.started_at
            except Untrusted:
                wanted = True
            except (BadSnapshot, OSError):
                wanted = lives[present] < keep
            else:
                present = present if lives else life
                wanted = lives[life] < (keep if life == present else 1)
                lives[life] += 1
            if not wanted:
                self.fs.rm_file(snapshot.path)


def _identity(path: str) -> tuple[int, ...]:
    """What changes with every write to a file, and with every other file that takes its place."""
    file = os.stat(path)  # noqa: PTH116 (as all paths here)
    return file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns


@lru_cache(maxsize=256)
def _check_once(path: str, _: tuple[int, ...], key: bytes, keys: str | None) -> Checked:
    """A save reads no kept file in full that this process has found good, and nobody has touched since."""
    with open(path, "rb") as file:  # noqa: PTH123
        return check(file, key)


def open_url(where: str, base: Path) -> tuple[Any, str]:
    """The file system of a path or URL, and the path in it. Raises NoPlace."""
    try:
        fs, path = fsspec.core.url_to_fs(where if "://" in where else str(base / Path(where).expanduser()))
    except (ImportError, ValueError) as error:
        raise NoPlace(f"{where} cannot be reached: {error}") from None
    if _is_forgotten(fs):
        raise NoPlace(f"{where} is the memory of one process, so what is put there is lost at once")
    return fs, str(path)


def require_below(where: str, base: Path) -> None:
    """Raises NoPlace for what may be a folder of this machine and is not below `base`, links followed."""
    if "://" not in where and "::" not in where:
        if (base / Path(where).expanduser()).resolve().is_relative_to(base.resolve()):
            return
    elif where.startswith(OBJECT_STORES) and "::" not in where:
        return
    raise NoPlace(
        f"{where} is neither below {base} nor one of {', '.join(OBJECT_STORES)}, and the folders of a worker "
        "with --images are kept apart"
    )


def newest_snapshot(settings: Settings, base: Path) -> str:
    """Where the newest snapshot of an image is, to offer it unread; `base`: its settings file's folder."""
    system = settings.system
    try:
        place = Place(system.image_path, base, system.image_id)
        return next((place.address(found.path) for found in place.all()), "")
    except Exception as error:  # every file system has errors of its own
        log.debug("Whether there are snapshots of %s is not known: %r", system.image_id, error)
        return ""


def _is_forgotten(fs: Any) -> bool:
    """Whether a file system, or the one that it wraps (`simplecache::memory://`), ends with its process."""
    inner = getattr(fs, "fs", None) or getattr(fs, "sync_fs", None)
    return isinstance(fs, MemoryFileSystem) or (inner is not None and _is_forgotten(inner))


def read_file(fs: Any, path: str) -> bytes:
    """All bytes of a file. Raises BadSnapshot for more than a snapshot can have, OSError."""
    with fs.open(path, "rb") as file:
        data: bytes = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BadSnapshot(f"it is larger than {MOST_BYTES >> 20} MiB")
    return data
