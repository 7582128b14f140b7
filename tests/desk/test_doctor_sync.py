"""A file system that cannot write a folder through is told once, and is nothing broken."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from desk.doctor import Report
from testbed.processes import ROOT
from testbed.world import SETTINGS
from tests.activities.failing_disk import COMPILER, without_folder_sync

LOOK = """
import asyncio, sys
from pathlib import Path
from desk.doctor import CHECKS, examine
from connection.problems import leave
report = asyncio.run(examine(Path(sys.argv[1]), Path(), {"writable": CHECKS["writable"]}))
print(report.model_dump_json())
leave(0)
"""


def look(file: Path, **environment: str) -> Report:
    told = subprocess.run(
        [sys.executable, "-c", LOOK, str(file)],
        cwd=ROOT,
        env={**os.environ, "TEMPORAL_ADDRESS": "127.0.0.1:1", **environment},
        check=True,
        capture_output=True,
    )
    return Report.model_validate_json(told.stdout)


@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
def test_a_folder_that_cannot_be_synced_is_one_warning(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    (folder / "snapshots").mkdir(parents=True)
    file = Path(shutil.copy(SETTINGS, folder))
    report = look(file, **without_folder_sync(tmp_path, errno.EINVAL))
    writable, sync = report.findings
    assert (writable.state, sync.state, report.exit_code) == ("ok", "warning", 1)
    assert sync.figure.startswith(f"{folder} and {folder / 'snapshots'}: the file system cannot write")
    assert [finding.check for finding in look(file).findings] == ["writable"]
