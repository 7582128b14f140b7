"""What `make run` does on a new machine while packages are installed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.processes import ROOT
from testbed.world import edit, shipped_settings


def prefetch(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Begin to fetch with an empty cache and no package index within reach."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OLLAMA_")}
    nowhere = {"UV_OFFLINE": "1", "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    environment = {**inherited, **nowhere, "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "runtime.embedded_model.prefetch"],
        cwd=folder,
        env={**environment, **more},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_ollama_the_embedded_model_is_fetched(tmp_path: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 11434)) == 0:
            pytest.skip("an Ollama runs on this machine")
    shipped_settings(tmp_path)
    fetching = prefetch(tmp_path)
    assert fetching.stderr.startswith("Fetching ")
    # The worker tries again, and says why if it cannot.
    assert (fetching.returncode, "Traceback" in fetching.stderr) == (1, False)


def test_where_a_model_server_is_named_nothing_is_fetched(tmp_path: Path) -> None:
    settings = shipped_settings(tmp_path)
    by_variable = prefetch(tmp_path, OLLAMA_HOST="gpu.example")
    edit(settings, {"models.host": "http://gpu.example:11434"})
    by_file = prefetch(tmp_path)
    settings.write_text("not TOML")
    broken = prefetch(tmp_path)
    for nothing in (by_variable, by_file, broken):
        assert (nothing.returncode, nothing.stderr) == (0, "")
    assert not (tmp_path / "cache").exists()
