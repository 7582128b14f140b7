"""Reads, previews and rewrites settings.toml, the file that people and the image share.

A rewrite happens once, whatever dies when. Its steps, under a lock on the folder:

1. the new text goes into a temporary file beside settings.toml, named after the order;
2. the old text goes into settings.backups/, its name holding the order too;
3. the temporary file replaces settings.toml.

So a backup whose temporary file is gone says that step 3 has happened: a retry writes nothing any more,
not even when a person has set the old values again since. In every other state it has not happened, and a
retry withdraws what is left (the backup first) and begins anew.

An order is named by the loop, the run of its workflow and its changes. The target digest alone would not do:
a person's edit of any other key changes it between two attempts. Nor would the loop id: an image begun anew
under an old name counts its loops from 1 again.
"""

import difflib
import fcntl
import hashlib
import json
import os
import pwd
import re
import stat
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote
from uuid import uuid4

import tomlkit
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.disk import sync_folder
from configuration import TUNABLES, InvalidSettings, Settings, Value
from messages.files import Rewrite, RewritePreview, RewriteReceipt, SettingsFile
from messages.loops import Change

BACKUPS_KEPT = 50
"""Each is a few kilobytes; fifty approved changes are months of an image's life."""

_BACKUP_NAME = re.compile(r"(\d{4,})\.(.*)\.([0-9a-f]{12})\.([0-9a-f]{12})\.toml")
_BYTE_ORDER_MARK = "\ufeff"


class SettingsUnreadable(OSError):
    """The file is missing or may not be read; the message says where it was looked for and what to do."""


class SettingsNotWritable(OSError):
    """The file, its folder or its backups may not be written; the message says which and what to do."""


class SettingsFiles:
    """The activities on one settings file. They block: run them in a thread pool."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @activity.defn
    def read_settings(self) -> SettingsFile:
        """The file as it stands. Fails with InvalidSettings (for good) or SettingsUnreadable."""
        with _reported():
            file = _resolve(self._path)
            settings = load_settings(self._path)
            digest = settings.digest()
            newest = _backups(file)[-1:]
            return SettingsFile(
                settings=settings,
                digest=digest,
                owner=_login(file.stat().st_uid),
                last_loop="".join(backup.loop_id for backup in newest if backup.target == digest),
            )

    @activity.defn
    def preview_rewrite(self, order: Rewrite) -> RewritePreview:
        """What a rewrite would do to the file; writes nothing. Fails as `read_settings` does."""
        with _reported():
            before = _read(self._path)
            plan = _plan(self._path, before, order.changes, order.by_person)
            name = self._path.name
            diff = difflib.unified_diff(
                before.splitlines(), plan.text.splitlines(), name, f"{name} (proposed)", lineterm=""
            )
            return RewritePreview(diff="\n".join(diff), stale=plan.stale)

    @activity.defn
    def rewrite_settings(self, order: Rewrite) -> RewriteReceipt:
        """Change the keys of one order in the file, once, however often it is asked for.

        `written` is also true for a retry that finds the order carried out; its settings are then those
        the file holds now. Fails with InvalidSettings (for good), SettingsUnreadable or SettingsNotWritable.
        """
        with _reported():
            run_id = activity.info().workflow_run_id or ""
            try:
                return _Rewriting(self._path, order, run_id).carry_out()
            except (SettingsUnreadable, SettingsNotWritable):
                raise
            except OSError as error:
                raise SettingsNotWritable(
                    f"{self._path} cannot be rewritten ({error}); free the disk or let "
                    f"{_login(os.geteuid())} write there, and the next attempt goes on"
                ) from error


def load_settings(path: Path) -> Settings:
    """The settings that a file holds. Raises InvalidSettings or SettingsUnreadable."""
    return _parse(path, _read(path))


def set_values(path: Path, changes: list[Change], order: str) -> RewriteReceipt:
    """Change any keys of the file for a person who asked for it: with a backup, comments kept.

    `order` names it in the backup. Raises InvalidSettings, SettingsUnreadable or OSError.
    """
    asked = Rewrite(loop_id=order, changes=changes, by_person=True)
    return _Rewriting(path, asked, run_id=uuid4().hex).carry_out()


def check_writable(path: Path) -> None:
    """Make sure that a rewrite would be let through. Raises SettingsUnreadable or SettingsNotWritable."""
    file = _resolve(path)
    if os.path.ismount(file):
        raise SettingsNotWritable(
            f"{path} cannot be rewritten: the file is mounted by itself, so no other can take its place; "
            "mount the folder it is in"
        )
    places = {file: os.W_OK, file.parent: os.W_OK | os.X_OK}
    if (backups := _backup_folder(file)).exists():
        places[backups] = os.R_OK | os.W_OK | os.X_OK
    for place, access in places.items():
        if not os.access(place, access):
            me, owner = _login(os.geteuid()), _login(place.stat().st_uid)
            raise SettingsNotWritable(
                f"{path} cannot be rewritten: {place} is not writable for {me}; "
                f"give {me} write access, or run the worker as its owner, {owner}"
            )


class _Plan(NamedTuple):
    """What an order comes to: the settings and the text afterwards, or the keys that are stale."""

    settings: Settings
    text: str
    stale: list[str]


def _plan(path: Path, before: str, changes: list[Change], by_person: bool) -> _Plan:
    present = _parse(path, before)
    values = present.flat()
    closed = [change.key for change in changes if change.key not in TUNABLES]
    if closed and not by_person:
        raise InvalidSettings(f"{', '.join(closed)}: not for the image to change; edit {path} by hand")
    stale = [change.key for change in changes if values[change.key] not in (change.old, change.new)]
    wanted = {change.key: change.new for change in changes if values[change.key] != change.new}
    if stale or not wanted:
        return _Plan(present, before, stale)
    try:
        settings = present.with_changes(wanted)
    except InvalidSettings as error:
        raise InvalidSettings(f"the change asked of {path} is refused: {error}") from None
    after = _edit(before, {key: settings.flat()[key] for key in wanted})
    if _parse(path, after) != settings:
        raise InvalidSettings(f"{path} is laid out in a way that cannot be rewritten; edit it by hand")
    return _Plan(settings, after, [])


def _edit(text: str, changes: dict[str, Value]) -> str:
    body = text.removeprefix(_BYTE_ORDER_MARK)
    document: Any = tomlkit.parse(body)
    for dotted, value in changes.items():
        section, _, key = dotted.partition(".")
        # A key that a later version added may stand in no file yet; its default holds until then.
        document.setdefault(section, tomlkit.table())[key] = value
    return text[: len(text) - len(body)] + tomlkit.dumps(document)


class _Rewriting:
    """One order on its way into the file, as the steps at the top of this module say."""

    def __init__(self, path: Path, order: Rewrite, run_id: str) -> None:
        self._path = path
        self._order = order
        self._file = _resolve(path)
        self._folder = _backup_folder(self._file)
        changes = [(change.key, change.old, change.new) for change in order.changes]
        named = json.dumps([order.loop_id, run_id, changes])
        self._key = hashlib.sha256(named.encode()).hexdigest()[:12]
        self._temporary = self._file.with_name(f".{self._file.name}.{self._key}.tmp")
        self._part = self._folder / self._temporary.name

    def carry_out(self) -> RewriteReceipt:
        with _locked(self._file.parent):
            backup = self._backup()
            if backup and not self._temporary.exists():
                return _receipt(load_settings(self._path), backup=backup)
            try:
                return self._attempt()
            except (OSError, InvalidSettings):
                with suppress(OSError):
                    self._withdraw()
                raise

    def _attempt(self) -> RewriteReceipt:
        while True:
            before = _read(self._file)
            plan = _plan(self._path, before, self._order.changes, self._order.by_person)
            self._withdraw()
            if plan.text == before:
                return _receipt(plan.settings, stale=plan.stale)
            backup = self._prepare(before, plan)
            # A person may have saved an edit meanwhile. Nothing may come between this look and the replace.
            if self._file.read_bytes() == before.encode():
                self._temporary.replace(self._file)
                sync_folder(self._file.parent)
                self._prune()
                return _receipt(plan.settings, backup=backup)

    def _prepare(self, before: str, plan: _Plan) -> Path:
        check_writable(self._path)
        self._folder.mkdir(exist_ok=True)
        like = self._file.stat()
        _write(self._temporary, plan.text, like)
        # On the disk before its backup is: after a power cut, too, a backup alone means "replaced".
        sync_folder(self._file.parent)
        number = max((backup.number for backup in _backups(self._file)), default=0) + 1
        loop = quote(self._order.loop_id, safe="")
        backup = self._folder / f"{number:04d}.{loop}.{self._key}.{plan.settings.digest()}.toml"
        _write(self._part, before, like)
        self._part.replace(backup)
        sync_folder(self._folder)
        return backup

    def _withdraw(self) -> None:
        if not self._temporary.exists():
            return  # nothing was begun, or all is done and the backup must stay to say so
        # The backup goes first: alone it would say that the file has been replaced.
        if backup := self._backup():
            backup.unlink()
            sync_folder(self._folder)
        self._part.unlink(missing_ok=True)
        self._temporary.unlink()

    def _backup(self) -> Path | None:
        return next((each.path for each in _backups(self._file) if each.order == self._key), None)

    def _prune(self) -> None:
        for backup in _backups(self._file)[:-BACKUPS_KEPT]:
            backup.path.unlink()


class _Backup(NamedTuple):
    """An old text of the file, and the order that replaced it. `target`: the digest it led to."""

    number: int
    loop_id: str
    order: str
    target: str
    path: Path


def _backups(file: Path) -> list[_Backup]:
    """The backups beside a file, oldest first."""
    folder = _backup_folder(file)
    found = []
    for path in folder.iterdir() if folder.exists() else ():
        if name := _BACKUP_NAME.fullmatch(path.name):
            number, loop, order, target = name.groups()
            found.append(_Backup(int(number), unquote(loop), order, target, path))
    return sorted(found)


def _backup_folder(file: Path) -> Path:
    return file.with_suffix(".backups")


def _resolve(path: Path) -> Path:
    """The file behind a symbolic link, so that the link itself stays."""
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise _unreadable(path, error) from error


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidSettings(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from None


def _parse(path: Path, text: str) -> Settings:
    try:
        # The reader is not tomlkit, so that a rewritten text is checked by other eyes than its writer's.
        return Settings.parse(tomllib.loads(text.removeprefix(_BYTE_ORDER_MARK)))
    except InvalidSettings as error:
        raise InvalidSettings(f"{path}: {error}") from None
    except ValueError as error:
        end = f"at line {text.count(chr(10)) + 1}, the end of the file"
        raise InvalidSettings(f"{path}: {error}".replace("at end of document", end)) from None


def _write(path: Path, text: str, like: os.stat_result) -> None:
    """Write a file through to the disk, with the mode and, where permitted, the owner of another."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        for user, group in ((-1, like.st_gid), (like.st_uid, -1)):
            with suppress(PermissionError):
                os.fchown(handle, user, group)
        os.fchmod(handle, stat.S_IMODE(like.st_mode))
        file.write(text.encode())
        file.flush()
        os.fsync(handle)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One rewrite at a time, across processes; the lock of a process that dies goes with it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _receipt(settings: Settings, stale: Sequence[str] = (), backup: Path | None = None) -> RewriteReceipt:
    return RewriteReceipt(
        settings=settings,
        digest=settings.digest(),
        written=backup is not None,
        stale=list(stale),
        backup=str(backup or ""),
    )


def _login(uid: int) -> str:
    """A user's login name, or the number where the machine knows no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _unreadable(path: Path, error: Exception) -> SettingsUnreadable:
    reason = getattr(error, "strerror", None) or error
    return SettingsUnreadable(
        f"{path} cannot be read ({reason}); put the file there, or let {_login(os.geteuid())} read it"
    )


@contextmanager
def _reported() -> Iterator[None]:
    """Let Temporal tell the failures apart by name. Only an invalid file does not mend on a retry."""
    try:
        yield
    except (InvalidSettings, SettingsUnreadable, SettingsNotWritable) as error:
        final = isinstance(error, InvalidSettings)
        raise ApplicationError(str(error), type=type(error).__name__, non_retryable=final) from None
