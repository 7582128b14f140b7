"""The SQLite file that holds the memories: who may read and write it when, and what follows if it is broken.

Nobody waits inside SQLite. Readers need no lock; writers of one process take turns by a lock of Python's; for
other processes one pauses and tries again, in Python and not for long. Transactions are statements here:
`with connection:` and `close` of apsw hold the whole interpreter until the disk has done its part.
"""

import ctypes
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, TypeVar

import apsw

log = logging.getLogger(__name__)

HURRY_SECONDS = 0.2
"""How long a task waits for another program that writes; a write takes milliseconds."""
PAUSE_SECONDS = 0.005

Result = TypeVar("Result")
Work = Callable[[apsw.Connection], Result]


class _Broken(Exception):
    """The file is not of this schema and version."""


_BROKEN = (_Broken, apsw.NotADBError, apsw.CorruptError, apsw.FormatError)


class _Open(NamedTuple):
    """A connection. `log`: which files its log and index are. `written`: size and time of the file itself."""

    db: apsw.Connection
    log: tuple[int, ...]
    written: tuple[int, ...]


class MemoryFile:
    """One file of a schema and a version. A broken one, or one of another version, is deleted and begun anew.

    `upgrades`: how to go on with a file of an earlier version.

    `read` and `write` block, and raise apsw.Error or OSError; apsw.BusyError when somebody else would not let
    them for `patience_seconds`.
    """

    def __init__(self, path: Path, schema: str, version: int, upgrades: Mapping[int, str]) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._upgrades = upgrades
        self._writing = threading.Lock()
        # Connections that nobody uses now. Any may read or write; there are as many as were used at once.
        self._idle: list[_Open] = []
        # The file that was opened last, and its log.
        self._last: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    def read(self, work: Work[Result], patience_seconds: float) -> Result:
        """Work on one state of the file, whoever writes meanwhile."""
        return self._do("BEGIN", work, patience_seconds)

    def write(self, work: Work[Result], patience_seconds: float) -> Result:
        """Work on the file alone: all of it is kept, or nothing."""
        if not self._writing.acquire(timeout=patience_seconds):
            raise apsw.BusyError("this program is still writing to it")
        try:
            # Immediate: one who reads first and writes later is refused when another wrote in between.
            return self._do("BEGIN IMMEDIATE", work, patience_seconds)
        finally:
            self._writing.release()

    def close(self) -> None:
        """Write what is in the log into the file, if nobody minds, and close what is open."""
        try:
            self.read(lambda db: None, HURRY_SECONDS)
            self._idle[-1].db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except (apsw.Error, OSError, IndexError):
            pass
        self._forget_all()

    def _do(self, begin: str, work: Work[Result], patience_seconds: float) -> Result:
        until = time.monotonic() + patience_seconds
        begun_anew = False
        while True:
            try:
                return self._attempt(begin, work)
            except _BROKEN as error:
                if begun_anew:
                    raise
                begun_anew = True
                log.warning("%s cannot be used (%s); the memory is begun anew.", self.path, error)
                self._delete()
            except apsw.BusyError:
                if time.monotonic() > until:
                    raise
                time.sleep(PAUSE_SECONDS)

    def _attempt(self, begin: str, work: Work[Result]) -> Result:
        one = self._take()
        try:
            one.db.execute(begin)
            result = work(one.db)
            one.db.execute("COMMIT")
        except apsw.BusyError:
            self._give_back(one)
            raise
        except BaseException:
            one.db.close()
            raise
        self._give_back(one)
        return result

    def _take(self) -> _Open:
        while True:
            try:
                one = self._idle.pop()
            except IndexError:  # not asked before: another thread may be faster
                return self._open()
            # What was written over by something else than SQLite would not be noticed otherwise.
            if not _has_moved(one.db) and one.log == self._log() and one.written == _written(self.path):
                return one
            one.db.close()

    def _give_back(self, one: _Open) -> None:
        if one.db.in_transaction:
            one.db.execute("ROLLBACK")
        self._idle.append(one._replace(written=_written(self.path)))

    def _log(self) -> tuple[int, ...]:
        return _identity(self._beside("-wal")) + _identity(self._beside("-shm"))

    def _open(self) -> _Open:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._discard_log_of_another()
        db = apsw.Connection(str(self.path))
        try:
            db.set_busy_timeout(0)
            # Closing must not checkpoint, for that holds the interpreter, nor delete the log: under the same
            # name there may be another file's by now.
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            db.enable_load_extension(True)
            db.load_extension(_vec0())
            db.enable_load_extension(False)
            db.pragma("journal_mode", "wal")
            # The log is synced before it is written into the file. A crash of the machine may cost the last
            # memories, which come back from the histories, and never the file.
            db.pragma("synchronous", "normal")
            if db.pragma("user_version") != self._version:
                self._create(db)
        except BaseException:
            db.close()
            raise
        self._last = _identity(self.path), _identity(self._beside("-wal"))
        return _Open(db, self._log(), ())

    def _create(self, db: apsw.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        version = db.pragma("user_version")
        if version != self._version:  # else another process was first
            upgrade = self._upgrades.get(version)
            if not upgrade and (version or db.execute("SELECT count(*) FROM sqlite_master").get):
                raise _Broken(f"it is no memory of version {self._version}")
            db.execute(upgrade or self._schema)
            db.pragma("user_version", self._version)
        db.execute("COMMIT")

    def _discard_log_of_another(self) -> None:
        """Of a file that was deleted or replaced: SQLite would read its log into the new one."""
        # First the log: whoever makes a new file makes its log after it.
        log = _identity(self._beside("-wal"))
        file = _identity(self.path)
        last_file, last_log = self._last
        if log and (not file or (log == last_log and file != last_file)):
            self._delete(("-wal", "-shm"))

    def _delete(self, suffixes: Sequence[str] = ("-wal", "-shm", "")) -> None:
        self._forget_all()
        for suffix in suffixes:
            self._beside(suffix).unlink(missing_ok=True)

    def _forget_all(self) -> None:
        while self._idle:
            self._idle.pop().db.close()

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


def _identity(path: Path) -> tuple[int, ...]:
    """Which file it is; nothing where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return found.st_dev, found.st_ino


def _written(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return found.st_size, found.st_mtime_ns


def _has_moved(db: apsw.Connection) -> bool:
    """Whether its file is no longer where it was opened."""
    moved = ctypes.c_int()
    db.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, ctypes.addressof(moved))
    return bool(moved.value)


def _vec0() -> str:
    """The extension in the package sqlite_vec, which imported would load numpy: nothing here needs it."""
    package = find_spec("sqlite_vec")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("sqlite_vec is not installed", name="sqlite_vec")
    return str(Path(package.origin).with_name("vec0"))
