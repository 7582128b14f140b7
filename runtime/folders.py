"""The folders below one folder: each with a settings.toml is an image, unless something speaks against it."""

import errno
import logging
import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from activities.hosted import Hosted
from activities.settings_rewriting import SettingsNotWritable, check_writable
from configuration import InvalidSettings, Settings
from configuration.reading import SettingsUnreadable, load_settings
from connection.places import SETTINGS, quoted, require_text
from connection.problems import Problem
from connection.version import NAME
from runtime.settings_watcher import WatchedFile

log = logging.getLogger(__name__)

GONE = "gone"
LOOK_AGAIN_SECONDS = 30.0
"""What is not in the file, such as who may write it, may be mended without a change of it."""
Unfit = (InvalidSettings, SettingsUnreadable, SettingsNotWritable, Problem)


@dataclass(eq=False)
class _Folder:
    """One folder. `known`: what its file held when it was last read; `why_not`: what was last told of it.

    `image_id`: the image that is hosted from it, or nothing.
    """

    file: Path
    watched: WatchedFile
    seen: str = ""
    known: str = ""
    image_id: str = ""
    why_not: str = ""

    @property
    def name(self) -> str:
        return quoted(self.file.parent.name)


class Folders:
    """What is hosted, in `hosted`, and on which task queue. Not for several threads at a time; it blocks."""

    def __init__(self, root: Path, task_queue: str | None = None) -> None:
        """Raises Problem where `root` is no folder. Without a queue it is the one that most files name."""
        self.root = root
        self.hosted = Hosted()
        self._folders: dict[str, _Folder] = {}
        self._look_again_at = time.monotonic() + LOOK_AGAIN_SECONDS
        self._lost = False
        try:
            self._note(self._listed())
        except OSError as error:
            raise Problem(f"{root} is no folder of images ({error.strerror}); correct --images") from None
        for folder in self._folders.values():
            folder.seen = folder.known = folder.watched.look()
        self.task_queue = task_queue or _most_named(self._read()) or NAME
        for folder in self._in_order(self._folders.values()):
            self._consider(folder)

    def settings(self) -> list[Settings]:
        """Those of all images that are hosted, as their files stand."""
        hosted = [folder for folder in self._folders.values() if folder.image_id]
        return list(self._read(hosted))

    def image_ids(self) -> list[str]:
        return [folder.image_id for folder in self._in_order(self._folders.values()) if folder.image_id]

    def look(self) -> list[str]:
        """The images that are new here, or whose file has changed, since the look before."""
        try:
            listed = self._listed()
            self._lost = False
        except OSError as error:  # a network drive, maybe: whoever is hosted stays so
            if not self._lost:
                log.warning("%s cannot be looked at (%s); looking again.", self.root, error.strerror)
            self._lost = True
            return []
        self._note(listed)
        changed = []
        for name, folder in self._folders.items():
            before, folder.seen = folder.seen, folder.watched.look() if name in listed else GONE
            # As in settings_watcher.py: what is acted on has been the same for two looks.
            if folder.seen == before != folder.known:
                changed.append(folder)
        for folder in changed:
            folder.known, folder.why_not = folder.seen, ""
        # First what goes: its image may have come back in another folder.
        for folder in [each for each in changed if each.seen == GONE]:
            changed.remove(folder)
            self._let_go(folder, f"{folder.file} is gone")
            del self._folders[folder.file.parent.name]
            self._look_again_at = 0.0
        if changed or self._is_time():
            changed += [each for each in self._unfit() if each not in changed]
        return [image_id for folder in changed if (image_id := self._consider(folder))]

    def refuse(self, image_id: str, reason: str) -> None:
        """Host an image no more, for a reason that is not in its file."""
        for folder in self._folders.values():
            if folder.image_id == image_id:
                folder.image_id = ""
                self.hosted.remove(image_id)
                self._tell_why_not(folder, reason)

    # --- one folder ---

    def _consider(self, folder: _Folder) -> str:
        """Host what a folder has, if it may be; the image that is to hear of it, or nothing."""
        try:
            settings = load_settings(folder.file)
            image_id = settings.system.image_id
            if image_id != folder.image_id:
                if folder.image_id:
                    self._let_go(folder, f'{folder.file} names "{image_id}" by now')
                self._require_fit(folder, settings)
        except Unfit as fault:
            if not folder.image_id:  # else its image says what is wrong with the file, and keeps its settings
                self._tell_why_not(folder, str(fault))
            return folder.image_id
        folder.image_id = image_id
        self.hosted.add(image_id, folder.file)
        return image_id

    def _require_fit(self, folder: _Folder, settings: Settings) -> None:
        system = settings.system
        require_text(folder.file.absolute())
        if system.task_queue != self.task_queue:
            raise Problem(
                f'[system] task_queue = "{system.task_queue}", and this worker serves "{self.task_queue}"; '
                "write that, or host it by a worker of its own"
            )
        if (other := self.hosted.get(system.image_id)) is not None:
            raise Problem(
                f'[system] image_id = "{system.image_id}" is the image in {quoted(other.parent.name)}; '
                "give this one another name"
            )
        check_writable(folder.file)

    def _let_go(self, folder: _Folder, reason: str) -> None:
        """Host the image of a folder no more, if it has one."""
        if folder.image_id:
            self.hosted.remove(folder.image_id)
            log.warning(
                "%s is hosted no more, for %s; it lives on in Temporal and waits for its file.",
                folder.image_id,
                reason,
            )
            folder.image_id = ""

    def _tell_why_not(self, folder: _Folder, reason: str) -> None:
        if reason != folder.why_not:
            log.warning("The image in %s is not hosted: %s", folder.name, reason)
        folder.why_not = reason

    # --- all of them ---

    def _listed(self) -> set[str]:
        """The names of folders that have a settings.toml. Raises OSError."""
        with os.scandir(self.root) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
        return {name for name in names if self._has_file(name)}

    def _has_file(self, name: str) -> bool:
        try:
            os.lstat(f"{self.root}/{name}/{SETTINGS}")
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.ENOTDIR)
        return True

    def _note(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._folders:
                file = self.root / name / SETTINGS
                self._folders[name] = _Folder(file, WatchedFile(file))

    def _in_order(self, folders: Iterable[_Folder]) -> list[_Folder]:
        return sorted(folders, key=lambda folder: folder.file)

    def _is_time(self) -> bool:
        if time.monotonic() < self._look_again_at:
            return False
        self._look_again_at = time.monotonic() + LOOK_AGAIN_SECONDS
        return True

    def _unfit(self) -> list[_Folder]:
        return self._in_order(each for each in self._folders.values() if each.known and not each.image_id)

    def _read(self, folders: Iterable[_Folder] | None = None) -> Iterable[Settings]:
        """The settings of folders, of all by default, as far as they can be read."""
        for folder in self._folders.values() if folders is None else folders:
            try:
                yield load_settings(folder.file)
            except Unfit:
                continue


def _most_named(several: Iterable[Settings]) -> str:
    """The task queue that most of them name, of equals the first by the alphabet; nothing if none does."""
    named = Counter(settings.system.task_queue for settings in several)
    return min(named, key=lambda queue: (-named[queue], queue), default="")
