"""What docker-compose.temporal.yml and Dockerfile say, carried out without Docker.

The image is built by the commands of the Dockerfile in a folder of its own, and a service is its command
line in that folder, with its environment.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed.processes import ROOT
from tests.runtime.worker_process import WorkerProcess, environment_of

COMPOSE_FILE = ROOT / "docker-compose.temporal.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with their arguments."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """A word of the compose file with its ${VARIABLE:-default}s filled in."""
    return re.sub(
        r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found.group(1)) or found.group(2), text
    )


@dataclass(frozen=True)
class BuiltImage:
    """The file system that the Dockerfile makes: /venv and /app, elsewhere."""

    root: Path

    @property
    def app(self) -> Path:
        return self.root / "app"

    def environment(self, service: str, folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
        """What the compose file gives a service, with these values for the names of `variables`."""
        path = f"{self.root / 'venv' / 'bin'}:{os.environ['PATH']}"
        given = SERVICES[service]["environment"].items()
        described = {name: variables.get(name, interpolated(value, variables)) for name, value in given}
        return {**environment_of(folder, described), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def command(self, service: str, folder: Path, variables: Mapping[str, str]) -> list[str]:
        """The command line of a service whose /settings is `folder`."""
        described = SERVICES[service]
        return self._here(
            [*described.get("entrypoint", ["python"]), *described["command"]], folder, variables
        )

    def healthcheck(self, service: str, folder: Path, variables: Mapping[str, str]) -> list[str]:
        kind, *command = SERVICES[service]["healthcheck"]["test"]
        assert kind == "CMD"
        return self._here(command, folder, variables)

    def _here(self, command: list[str], folder: Path, variables: Mapping[str, str]) -> list[str]:
        words = [interpolated(word, variables) for word in command]
        words = [self._place(word, folder) for word in words]
        program = shutil.which(words[0], path=str(self.root / "venv" / "bin"))
        assert program, f"the image has no {words[0]}"
        return [program, *words[1:]]

    def _place(self, word: str, folder: Path) -> str:
        """Where a path of the container is here; any other word as it is."""
        for inside, here in (("/settings", folder), ("/app", self.app), ("/tmp", self.root / "tmp")):
            if word == inside or word.startswith(f"{inside}/"):
                return word.replace(inside, str(here), 1)
        return word

    def worker(self, service: str, own: Path, folder: Path, variables: Mapping[str, str]) -> WorkerProcess:
        """A container of a service: its output goes to the folder `own`, its /settings is `folder`."""
        program = tuple(self.command(service, folder, variables))
        environment = self.environment(service, own, variables)
        return WorkerProcess(own, program=program, cwd=self.app, **environment)  # type: ignore[arg-type]


def build(root: Path) -> BuiltImage:
    """Carry out the Dockerfile's COPY and RUN lines below `root`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    here = root / "build"
    for instruction, arguments in dockerfile():
        if instruction == "WORKDIR":
            here = root / arguments.lstrip("/")
        here.mkdir(parents=True, exist_ok=True)
        if instruction == "RUN":
            _run(arguments.replace("/venv", str(root / "venv")), here, path)
        elif instruction == "COPY" and not arguments.startswith("--from"):
            *sources, target = arguments.split()
            for source in sources:
                _copy(ROOT / source, here / target)
    return BuiltImage(root)


def _run(command: str, here: Path, path: str) -> None:
    """Run a line of the Dockerfile; uv installs the same in a third of pip's time, where it can."""
    pip = r"python -m pip --python (\S+) install --no-cache-dir"
    quick = re.sub(pip, r"uv pip install --python \1 --compile-bytecode", command)
    for each in dict.fromkeys((quick, command)):
        environment = {**os.environ, "PATH": path}
        done = subprocess.run(
            each, shell=True, cwd=here, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
    raise AssertionError(f"RUN {command}: {done.stderr}")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
