"""Checks of the doctor by themselves, and how they are put together."""

import shutil
import subprocess
import sys
import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.client import Client

from desk.doctor import CHECKS, Report, examine
from desk.doctor.clock import measure_offset
from desk.doctor.file_checks import room
from desk.doctor.finding import Finding, Patient
from desk.doctor.namespace_checks import clock_finding
from messages.files import SnapshotReceipt
from testbed.processes import ROOT
from testbed.world import SETTINGS, World


def test_a_settings_file_that_may_not_be_rewritten_is_told() -> None:
    # Not under tmp_path, whose parents are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        file = Path(shutil.copy(SETTINGS, folder))
        file.chmod(0o444)
        folder.chmod(0o755)
        told = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(file)],
            cwd=ROOT,
            env={"TEMPORAL_ADDRESS": "127.0.0.1:1"},
            check=True,
            capture_output=True,
        )
    report = Report.model_validate_json(told.stdout)
    settings, writable = report.findings
    assert (settings.state, writable.state, report.exit_code) == ("ok", "broken", 2)
    assert f"{file} cannot be rewritten: {file} is not writable for " in writable.figure
    assert "write access, or run the worker as its owner" in writable.advice


AS_NOBODY = """
import asyncio, os, sys
from pathlib import Path
from desk.doctor import CHECKS, examine
from connection.problems import leave
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
checks = {name: CHECKS[name] for name in ("settings", "writable")}
print(asyncio.run(examine(Path(sys.argv[1]), Path(), checks)).model_dump_json())
leave(0)
"""


async def test_each_damaged_snapshot_is_told(world: World, tmp_path: Path) -> None:
    await world.update("save_image", None, SnapshotReceipt)
    torn = tmp_path / "snapshots" / f"{world.name}.00000002.image"
    torn.write_text("torn")
    checks = {"snapshots": CHECKS["snapshots"]}
    bad = await examine(world.file, tmp_path, checks)
    [finding] = bad.findings
    assert (bad.exit_code, finding.check) == (2, f"snapshot {torn.name}")
    assert "it is cut off" in finding.figure
    assert finding.advice
    torn.unlink()
    good = await examine(world.file, tmp_path, checks)
    assert (good.exit_code, good.findings[0].figure) == (0, "1 verified")


async def test_a_place_that_keeps_no_snapshots_is_told_with_what_to_change(
    world: World, tmp_path: Path
) -> None:
    world.edit({"system.image_path": "memory://snaps"})
    report = await examine(world.file, tmp_path, {"snapshots": CHECKS["snapshots"]})
    [finding] = report.findings
    assert (finding.check, finding.state, report.exit_code) == ("snapshots", "broken", 2)
    lost = "memory://snaps is the memory of one process, so what is put there is lost at once"
    assert (finding.figure, finding.advice) == (lost, "Change [system] image_path")


async def test_a_check_that_fails_is_told_and_the_others_go_on(world: World, tmp_path: Path) -> None:
    async def fails(_: Patient) -> list[Finding]:
        raise ZeroDivisionError("by zero")

    report = await examine(world.file, tmp_path, {"odd": fails, "settings": CHECKS["settings"]})
    odd, settings = report.findings
    assert (odd.state, settings.state, report.exit_code) == ("broken", "ok", 2)
    assert "ZeroDivisionError: by zero" in odd.figure


async def test_the_clock_of_the_server_is_measured_against_ours(client: Client) -> None:
    queue = f"clock-{uuid.uuid4().hex[:8]}"
    ours = await measure_offset(client, queue)
    assert abs(ours.ahead) <= ours.give_or_take
    fast = await measure_offset(client, queue, lambda: datetime.now(UTC) + timedelta(minutes=5))
    assert abs(fast.ahead + timedelta(minutes=5)) <= fast.give_or_take
    assert clock_finding(*ours).state == "ok"
    warned = clock_finding(*fast)
    assert warned.state == "warning"
    assert "s behind this one" in warned.figure
    assert "NTP" in warned.advice


def test_a_disk_that_fills_up_is_told(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert room(tmp_path, low=free // 2, full=0).state == "ok"
    low = room(tmp_path, low=free * 2, full=0)
    full = room(tmp_path, low=free * 4, full=free * 2)
    assert (low.state, full.state) == ("warning", "broken")
    assert low.advice.startswith("Free some space there")
