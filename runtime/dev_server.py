"""Temporal's own dev server as a child of the worker: one file for a database, loopback only, Web UI on."""

import contextlib
import fcntl
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
from temporalio.client import Client

from connection.namespace import ensure_search_attributes, keep_closed_runs, type_name
from connection.problems import Problem
from connection.server import ServerUnreachable, connect, profile
from connection.web_ui import RECORD, Record, read_record
from messages.names import SEARCH_ATTRIBUTES
from runtime.child_process import ChildProcess, stop

HOST = "127.0.0.1"
# Named from inside its folder: the server puts the name into a URI as it is, where "#", "?" and "%" of a
# folder would end the path or stand for another character.
DATABASE = "temporal.db"

DYNAMIC_CONFIG = (
    # The default paces the server's own task queue to about one activity in 59 ms.
    "history.transferProcessorMaxPollRPS=2000",
    # A worker that has just completed a workflow task takes its next activity along, without a queue between.
    "system.enableActivityEagerExecution=true",
    # Partitions spread the load of a cluster; on one machine they only forward tasks to each other.
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    # Timers fire up to this much late, to allow for the clocks of several hosts; here there is one. With the
    # default of 1 s a killed worker is noticed 1 s later.
    'history.timerProcessorMaxTimeShift="10ms"',
)
# A write-ahead log costs a quarter of the syncs, and still no commit is lost to a crash or a power cut.
SQLITE_PRAGMAS = ("journal_mode=wal",)


class DevServer(ChildProcess):
    """The server on `port` of the loopback interface, its Web UI on `ui_port`, its data in `state_dir`."""

    name = "Temporal dev server"
    # 1 s on an idle machine; a large database on a busy one takes its time.
    ready_within_seconds = 60.0

    def __init__(self, state_dir: Path, port: int, ui_port: int) -> None:
        super().__init__(state_dir / "dev-server.log")
        self._state_dir = state_dir
        self.folder = state_dir.resolve()
        self._ports = {"--port": port, "--ui-port": ui_port}
        self._namespace = profile().namespace or "default"
        self.address = f"{HOST}:{port}"
        self.web_ui = f"http://{HOST}:{ui_port}"

    def command(self) -> list[str]:
        binary = Path(sys.executable).with_name("temporal")
        if not os.access(binary, os.X_OK):
            raise Problem(f"There is no `temporal` in {binary.parent}; install it with `make setup`")
        flags = {
            "--ip": [HOST],
            **{flag: [str(port)] for flag, port in self._ports.items()},
            "--db-filename": [DATABASE],
            "--log-level": ["warn"],
            "--namespace": [] if self._namespace == "default" else [self._namespace],
            "--search-attribute": [f"{key.name}={type_name(key)}" for key in SEARCH_ATTRIBUTES],
            "--dynamic-config-value": DYNAMIC_CONFIG,
            "--sqlite-pragma": SQLITE_PRAGMAS,
        }
        options = [part for flag, values in flags.items() for value in values for part in (flag, value)]
        return [str(binary), "server", "start-dev", "--ui-disable-news-fetch", *options]

    async def is_ready(self) -> bool:
        try:
            await connect(self.address)
        except ServerUnreachable:
            return False
        return True

    async def prepare(self) -> psutil.Process | None:
        """Find the server that a killed worker left behind; with other options than ours it is stopped."""
        record = read_record(self._state_dir)
        orphan = record.process() if record else None
        if record and orphan and self._is_ours(orphan, record):
            if record.command == self.command():
                return orphan
            await stop(orphan, self.stop_within_seconds)
        for option, port in self._ports.items():
            _require_free(port, option)
        return None

    def _is_ours(self, orphan: psutil.Process, record: Record) -> bool:
        """Whether it serves this very folder: a record may have been copied along with another one."""
        if str(self.folder / DATABASE) in record.command:
            return True  # as servers of before were started
        with contextlib.suppress(psutil.Error, OSError):
            return self.folder.samefile(orphan.cwd())
        return False

    def launched(self) -> None:
        record = Record(
            pid=self.pid,
            create_time=self.process.create_time(),
            command=self.command(),
            address=self.address,
            web_ui=self.web_ui,
        )
        new = self._state_dir / f"{RECORD}.new"
        new.write_text(record.model_dump_json(indent=2) + "\n")
        new.replace(self._state_dir / RECORD)


@contextlib.asynccontextmanager
async def run_dev_server(state_dir: Path, port: int, ui_port: int) -> AsyncIterator[tuple[DevServer, Client]]:
    """A dev server, ready for the image, while the context lasts. Raises Problem."""
    with _only_one(state_dir):
        async with DevServer(state_dir, port, ui_port) as server:
            client = await connect(server.address)
            await ensure_search_attributes(client)
            await keep_closed_runs(client)
            yield server, client
        (state_dir / RECORD).unlink(missing_ok=True)


@contextlib.contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    """Two servers on one database would destroy it. The kernel drops the lock with its holder."""
    with (state_dir / "dev-server.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            record = read_record(state_dir)
            raise Problem(
                f"Another `worker.py --dev` runs with {state_dir}; stop it first, or add a worker to its "
                f"server: TEMPORAL_ADDRESS={record.address if record else HOST} python worker.py"
            ) from None
        yield


def _require_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        # As the server itself does; otherwise a connection just closed would count as a port in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            advice = f"stop it, or choose another port with {option}"
            if option == "--port":
                advice += f", or use it with TEMPORAL_ADDRESS={HOST}:{port} if it is a Temporal server"
            raise Problem(
                f"Port {port} of {HOST} is in use by another program ({error.strerror}); {advice}"
            ) from None
