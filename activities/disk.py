"""What it takes for a file to stay where it was put."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Write a folder's entries through to the disk: a file that was moved into it is then there for good."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
