"""Rewrites settings.toml, the file that people and the image share.

A rewrite happens once, whatever dies when. Its steps, under a lock on the folder:

1. the new text goes into a temporary file beside settings.toml, named after the order;
2. the old text goes into settings.backups/, its name holding the order too;
3. the temporary file replaces settings.toml.

So a backup whose temporary file is gone says that step 3 has happened: a retry writes nothing any more,
not even when a person has set the old values again since. In every other state it has not happened, and a
retry withdraws what is left (the backup first) and begins anew. What fails after step 3 is no failure of the
rewrite: the file is changed.

An order is named by the loop, the run of its workflow and its changes. The target digest alone would not do:
a person's edit of any other key changes it between two attempts. Nor would the loop id: an image begun anew
under an old name counts its loops from 1 again.
"""

import errno
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote
from uuid import uuid4

import tomlkit

from activities.disk import Locked, is_mounted, is_read_only, locked, sync_folder, write_like
from configuration import InvalidSettings, Settings, Value, put
from configuration.reading import (
    BYTE_ORDER_MARK,
    SettingsUnreadable,
    load_settings,
    login,
    parse_settings,
    parse_values,
    read_text,
    resolve,
    unreadable,
)
from messages.files import Rewrite, RewriteReceipt
from messages.loops import Change

BACKUPS_KEPT = 50
"""Each is a few kilobytes; fifty approved changes are months of an image's life."""

LOCKED_SECONDS = 3.0
"""How long a rewrite waits for another, which takes milliseconds; whoever asked is told of more."""

_BACKUP_NAME = re.compile(r"(\d{4,})\.(.*)\.([0-9a-f]{12})\.([0-9a-f]{12})\.toml")

_ADVICE = {
    errno.ENOSPC: "free some space on its disk",
    errno.EDQUOT: "free some space within the quota of {me}",
    errno.EROFS: "mount its file system for writing",
    errno.EBUSY: "mount the folder it is in, not the file by itself",
    errno.EACCES: "let {me} write there",
    errno.EPERM: "let {me} write there",
}

Permit = Callable[[Settings], None]

log = logging.getLogger(__name__)


class SettingsNotWritable(OSError):
    """The file, its folder or its backups cannot be rewritten now; the message says which and what to do."""


def set_values(path: Path, changes: list[Change], order: str) -> RewriteReceipt:
    """Change any keys of the file for a person who asked for it: with a backup, comments kept.

    `order` names it in the backup. Raises InvalidSettings, SettingsUnreadable or SettingsNotWritable.
    """
    return rewrite(path, Rewrite(loop_id=order, changes=changes, by_person=True), run_id=uuid4().hex)


def rewrite(path: Path, order: Rewrite, run_id: str, permit: Permit | None = None) -> RewriteReceipt:
    """Carry an order out, once. Raises InvalidSettings, SettingsUnreadable or SettingsNotWritable.

    `permit` looks at the settings that are about to be replaced, and raises one of these to keep them.
    """
    try:
        return _Rewriting(path, order, run_id, permit or (lambda _: None)).carry_out()
    except (SettingsUnreadable, SettingsNotWritable):
        raise
    except Locked as error:
        raise SettingsNotWritable(f"{path} cannot be rewritten: {error}") from error
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        reason = f"{error.strerror or error}{where}"
        advice = _ADVICE.get(error.errno or 0, "see to its disk").format(me=login(os.geteuid()))
        raise SettingsNotWritable(f"{path} cannot be rewritten ({reason}); {advice}") from error


def check_writable(path: Path) -> None:
    """Make sure that a rewrite would be let through. Raises SettingsUnreadable or SettingsNotWritable."""
    file = resolve(path)
    if is_mounted(file):
        raise SettingsNotWritable(
            f"{path} cannot be rewritten: the file is mounted by itself, so no other can take its place; "
            "mount the folder it is in"
        )
    places = {file: os.W_OK, file.parent: os.W_OK | os.X_OK}
    if (backups := _backup_folder(file)).exists():
        if not backups.is_dir():
            told = f"{path} cannot be rewritten: {backups} is no folder; move it out of the way"
            raise SettingsNotWritable(told)
        places[backups] = os.R_OK | os.W_OK | os.X_OK
    for place, access in places.items():
        if not os.access(place, access):
            if is_read_only(place):
                raise SettingsNotWritable(
                    f"{path} cannot be rewritten: {place} is on a read-only file system; mount it for writing"
                )
            me, owner = login(os.geteuid()), login(place.stat().st_uid)
            raise SettingsNotWritable(
                f"{path} cannot be rewritten: {place} is not writable for {me}; "
                f"give {me} write access, or run the worker as its owner, {owner}"
            )


class Planned(NamedTuple):
    """What an order comes to: the settings and the text afterwards, or the keys that are stale."""

    settings: Settings
    text: str
    stale: list[str]


def plan(path: Path, before: str, changes: list[Change], by_person: bool) -> Planned:
    """What changes come to in the text of a file. Raises InvalidSettings."""
    present = parse_settings(path, before)
    values, tunables = present.flat(), present.tunables()
    closed = [change.key for change in changes if change.key not in tunables]
    if closed and not by_person:
        raise InvalidSettings(f"{', '.join(closed)}: not for the image to change; edit {path} by hand")
    # A name that a person has taken out of [custom] since is as stale as a value that they have changed.
    stale = [change.key for change in changes if values.get(change.key) not in (change.old, change.new)]
    wanted = {change.key: change.new for change in changes if values.get(change.key) != change.new}
    if stale or not wanted:
        return Planned(present, before, stale)
    said = parse_values(path, before)
    for key, value in wanted.items():
        put(said, key, value)
    try:
        settings = Settings.parse(said)
    except InvalidSettings as error:
        raise InvalidSettings(f"the change asked of {path} is refused: {error}") from None
    after = _edit(before, json.dumps({key: settings.flat()[key] for key in wanted}))
    if parse_settings(path, after) != settings:
        raise InvalidSettings(f"{path} is laid out in a way that cannot be rewritten; edit it by hand")
    return Planned(settings, after, [])


@lru_cache(maxsize=8)
def _edit(text: str, changes: str) -> str:
    """The text with other values, as JSON. An approval finds here what its proposal was shown as.

    Reading a file with all its comments takes longer than writing it through to the disk.
    """
    body = text.removeprefix(BYTE_ORDER_MARK)
    document: Any = tomlkit.parse(body)
    values: dict[str, Value] = json.loads(changes)
    for dotted, value in values.items():
        # A key that a later version added may stand in no file yet; its default holds until then.
        put(document, dotted, value)
    edited = tomlkit.dumps(document)
    if "\r\n" in body and "\n" not in body.replace("\r\n", ""):
        # A key that tomlkit adds has the other kind of line ending.
        edited = edited.replace("\r\n", "\n").replace("\n", "\r\n")
    return text[: len(text) - len(body)] + edited


class _Rewriting:
    """One order on its way into the file, as the steps at the top of this module say."""

    def __init__(self, path: Path, order: Rewrite, run_id: str, permit: Permit) -> None:
        self._path = path
        self._order = order
        self._permit = permit
        self._file = _target(path)
        self._folder = _backup_folder(self._file)
        changes = [(change.key, change.old, change.new) for change in order.changes]
        named = json.dumps([order.loop_id, run_id, changes])
        self._key = hashlib.sha256(named.encode()).hexdigest()[:12]
        self._temporary = _temporary(self._file, self._key)
        self._part = self._folder / self._temporary.name

    def carry_out(self) -> RewriteReceipt:
        if not self._file.parent.is_dir():
            resolve(self._path)
        with locked(self._file.parent, LOCKED_SECONDS):
            backup = self._backup()
            if backup and not self._temporary.exists():
                return self._carried_out(backup)
            resolve(self._path)
            try:
                return self._attempt()
            except (OSError, InvalidSettings):
                with suppress(OSError):
                    self._withdraw()
                raise

    def _carried_out(self, backup: Path) -> RewriteReceipt:
        """What an earlier attempt came to, whatever a person has made of the file since."""
        try:
            settings = load_settings(self._path)
        except (InvalidSettings, SettingsUnreadable):
            before = read_text(backup)
            settings = plan(backup, before, self._order.changes, self._order.by_person).settings
        return _receipt(settings)

    def _attempt(self) -> RewriteReceipt:
        while True:
            before = self._read()
            planned = plan(self._path, before, self._order.changes, self._order.by_person)
            self._withdraw()
            if planned.text == before:
                return _receipt(planned.settings, stale=planned.stale)
            self._permit(parse_settings(self._path, before))
            self._prepare(before, planned)
            # A person may have saved an edit meanwhile. Nothing may come between this look and the replace.
            if self._file.read_bytes() == before.encode():
                self._temporary.replace(self._file)
                self._settle()
                return _receipt(planned.settings)

    def _read(self) -> str:
        """What the file says now. One that makes no settings can be put right; the order is not at fault."""
        try:
            text = read_text(self._file)
            parse_settings(self._path, text)
        except InvalidSettings as error:
            raise SettingsNotWritable(
                f"{error}; put it right, for nothing is written into it before"
            ) from None
        return text

    def _prepare(self, before: str, planned: Planned) -> None:
        check_writable(self._path)
        self._folder.mkdir(exist_ok=True)
        write_like(self._temporary, planned.text, self._file)
        # On the disk before its backup is: after a power cut, too, a backup alone means "replaced".
        sync_folder(self._file.parent)
        number = max((backup.number for backup in backups(self._file)), default=0) + 1
        loop = quote(self._order.loop_id, safe="")
        backup = self._folder / f"{number:04d}.{loop}.{self._key}.{planned.settings.digest()}.toml"
        write_like(self._part, before, self._file)
        self._part.replace(backup)
        sync_folder(self._folder)

    def _withdraw(self) -> None:
        if not self._temporary.exists():
            return  # nothing was begun, or all is done and the backup must stay to say so
        # The backup goes first: alone it would say that the file has been replaced.
        if backup := self._backup():
            backup.unlink()
            sync_folder(self._folder)
        self._part.unlink(missing_ok=True)
        self._temporary.unlink()

    def _settle(self) -> None:
        """The file is changed: what fails from here on is worth a line in the log and no more."""
        for step in (lambda: sync_folder(self._file.parent), self._prune):
            try:
                step()
            except OSError as error:
                log.warning("%s was rewritten; afterwards: %s", self._path, error)

    def _backup(self) -> Path | None:
        return next((each.path for each in backups(self._file) if each.order == self._key), None)

    def _prune(self) -> None:
        for backup in backups(self._file)[:-BACKUPS_KEPT]:
            backup.path.unlink()


class Backup(NamedTuple):
    """An old text of the file, and the order that replaced it. `target`: the digest it led to."""

    number: int
    loop_id: str
    order: str
    target: str
    path: Path


def backups(file: Path) -> list[Backup]:
    """The backups beside a file, oldest first."""
    folder = _backup_folder(file)
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if name := _BACKUP_NAME.fullmatch(path.name):
            number, loop, order, target = name.groups()
            found.append(Backup(int(number), unquote(loop), order, target, path))
    return sorted(found)


def newest_rewrite(file: Path) -> Backup | None:
    """The backup of the last rewrite that was carried out, or None."""
    return next((each for each in backups(file)[::-1] if not _temporary(file, each.order).exists()), None)


def _target(path: Path) -> Path:
    """Where the file is, or was before somebody took it away."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise unreadable(path, error) from error


def _temporary(file: Path, order: str) -> Path:
    return file.with_name(f".{file.name}.{order}.tmp")


def _backup_folder(file: Path) -> Path:
    return file.with_suffix(".backups")


def _receipt(settings: Settings, stale: Sequence[str] = ()) -> RewriteReceipt:
    return RewriteReceipt(settings=settings, digest=settings.digest(), stale=list(stale))
