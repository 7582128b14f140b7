"""What files ask of a disk: to stay where they were put, with all that is theirs, one writer at a time."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

LOOK_EVERY_SECONDS = 0.05

# What file systems answer that cannot write a folder through: VirtualBox, CIFS, FUSE, some drives of WSL.
_UNABLE = (
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EBADF,
    errno.ENOSYS,
    errno.EACCES,
    errno.EPERM,
)


class Locked(OSError):
    """Another process holds the lock of a folder; the message says so and what to do."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another process is at work in {folder}; let it finish, or end it")


def sync_folder(folder: Path) -> bool:
    """Write a folder's entries through to the disk; false where its file system cannot. Raises OSError."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
        return False
    return True


def write_like(path: Path, text: str, model: Path) -> None:
    """Write a file through to the disk, with the mode and, as far as permitted, all else that another has."""
    like = model.stat()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        for user, group in ((-1, like.st_gid), (like.st_uid, -1)):
            with suppress(PermissionError):
                os.fchown(handle, user, group)
        os.fchmod(handle, stat.S_IMODE(like.st_mode))
        _copy_attributes(model, handle)
        file.write(text.encode())
        file.flush()
        os.fsync(handle)


def _copy_attributes(model: Path, handle: int) -> None:
    """Labels, access lists and the like; one that may not be set is no reason to lose the others."""
    if not hasattr(os, "listxattr"):
        return  # another Unix than Linux
    with suppress(OSError):
        for name in os.listxattr(model):
            with suppress(OSError):
                os.setxattr(handle, name, os.getxattr(model, name))


def is_mounted(path: Path) -> bool:
    """Whether something is mounted at just this path, be it a file of the same disk."""
    if os.path.ismount(path):
        return True
    # Which compares devices; the mount table knows. Without one there is nothing more to be known.
    with suppress(OSError):
        return str(path) in {partition.mountpoint for partition in psutil.disk_partitions(all=True)}
    return False


def is_read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


@contextmanager
def locked(folder: Path, within_seconds: float) -> Iterator[None]:
    """One process at a time; the lock of one that dies goes with it. Raises Locked, OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        give_up_at = time.monotonic() + within_seconds
        while not try_lock(handle):
            if time.monotonic() > give_up_at:
                raise Locked(folder)
            time.sleep(LOOK_EVERY_SECONDS)
        yield
    finally:
        os.close(handle)


def try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
