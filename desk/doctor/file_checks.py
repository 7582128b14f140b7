"""Whether the settings file holds, the snapshots verify, and the disks have room."""

import asyncio
import shutil
from pathlib import Path

from rich.filesize import decimal

from activities.disk import sync_folder
from activities.settings_rewriting import SettingsNotWritable, check_writable
from activities.snapshots.places import NoPlace
from configuration import Settings
from configuration.reading import SettingsUnreadable
from desk.doctor.finding import Absent, Finding, Patient, broken
from desk.snapshots import snapshots_in

# The weights of the embedded model (1.1 GB) fit into it, and the database has room to grow.
LOW_BYTES = 2 * 10**9
# A rewrite takes kilobytes, but the server's database and its log stop at a full disk in mid-sentence.
FULL_BYTES = 10**8


async def settings_hold(patient: Patient) -> list[Finding]:
    if not isinstance(patient.file, Settings):
        advice = "Correct it; a living image goes on with its last good settings until then"
        if isinstance(patient.file, SettingsUnreadable):
            return [broken("settings", patient.file)]
        return [Finding(check="settings", state="broken", figure=str(patient.file), advice=advice)]
    return [Finding(check="settings", figure=f"{patient.path} is valid, digest {patient.file.digest()}")]


async def settings_writable(patient: Patient) -> list[Finding]:
    try:
        check_writable(patient.path)
    except SettingsUnreadable:
        raise Absent("no settings file") from None
    except SettingsNotWritable as error:
        return [broken("writable", error)]
    writable = Finding(check="writable", figure=f"{patient.path} and its folder can be rewritten")
    return [writable, *_unsynced(patient)]


def _unsynced(patient: Patient) -> list[Finding]:
    """The folders, if any, that their file system cannot write through to the disk."""
    folders = [patient.path.resolve().parent]
    if isinstance(patient.file, Settings):
        # A URL is no folder of this machine, and neither is a place that nothing was written to yet.
        folders.append(folders[0] / Path(patient.file.system.image_path).expanduser())
    try:
        unable = [str(folder) for folder in folders if folder.is_dir() and not sync_folder(folder)]
    except OSError as error:
        return [broken("sync", OSError(f"{error}; see to the disk"))]
    if not unable:
        return []
    figure = f"{' and '.join(unable)}: the file system cannot write a folder through to the disk"
    advice = "After a power cut the latest rewrite or snapshot may be gone; use another disk if that matters"
    return [Finding(check="sync", state="warning", figure=figure, advice=advice)]


async def disk_space(patient: Patient) -> list[Finding]:
    folders = (patient.state_dir, patient.path.resolve().parent)
    # A machine that runs neither the dev server nor a worker has no state folder.
    return [room(folder) for folder in folders if folder.is_dir()]


def room(folder: Path, low: int = LOW_BYTES, full: int = FULL_BYTES) -> Finding:
    """How much a folder can still take, in bytes for somebody who is not root."""
    free = shutil.disk_usage(folder).free
    check, figure = f"disk of {folder}", f"{decimal(free)} free"
    if free >= low:
        return Finding(check=check, figure=figure)
    advice = (
        f"Free some space there: less than {decimal(low)} will not last, below {decimal(full)} work stops"
    )
    return Finding(check=check, state="broken" if free < full else "warning", figure=figure, advice=advice)


async def snapshots_verify(patient: Patient) -> list[Finding]:
    system, base = patient.settings.system, patient.path.absolute().parent
    try:
        views = await asyncio.to_thread(snapshots_in, system.image_path, base, system.image_id)
    except NoPlace as error:
        return [broken("snapshots", OSError(f"{error}; change [system] image_path"))]
    bad = [view for view in views if view.problem]
    if not bad:
        return [Finding(check="snapshots", figure=f"{len(views)} verified")]
    advice = "Nothing can be restored from it. Delete it, or put back an undamaged copy"
    return [
        Finding(check=f"snapshot {Path(view.path).name}", state="broken", figure=view.problem, advice=advice)
        for view in bad
    ]
