"""Where Temporal's Web UI is, if that is known, and what its pages are called."""

from pathlib import Path
from urllib.parse import quote

import psutil
from pydantic import BaseModel, ValidationError

from messages.names import INBOX_QUERY

RECORD = "dev-server.json"


class Record(BaseModel):
    """Which process is our dev server: what a later worker needs to find it again."""

    pid: int
    create_time: float
    command: list[str]
    address: str
    web_ui: str

    def process(self) -> psutil.Process | None:
        """The recorded process if it lives. Process ids are used again, so its age must agree as well."""
        try:
            process = psutil.Process(self.pid)
            lives = process.create_time() == self.create_time and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if lives else None


def read_record(state_dir: Path) -> Record | None:
    try:
        return Record.model_validate_json((state_dir / RECORD).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def known_web_ui(address: str, state_dir: Path) -> str | None:
    """Where the Web UI of the server at `address` is, if that is our dev server and it lives."""
    record = read_record(state_dir)
    if record is None or record.address != address.replace("localhost", "127.0.0.1") or not record.process():
        return None
    return record.web_ui


def workflow_url(web_ui: str, namespace: str, workflow_id: str) -> str:
    """The page of a workflow in the Web UI that answers at `web_ui`."""
    return f"{web_ui}/namespaces/{quote(namespace, safe='')}/workflows/{quote(workflow_id, safe='')}"


def inbox_url(web_ui: str, namespace: str) -> str:
    """The list of everything that waits for a person."""
    return f"{web_ui}/namespaces/{quote(namespace, safe='')}/workflows?query={INBOX_QUERY}"
