"""Begin to fetch the embedded model, if this machine is going to need it.

`make run` runs it while packages are installed, so it needs none but those of requirements-fetch.lock.
"""

import os
import socket
import sys
import tomllib
from pathlib import Path

from runtime.embedded_model.weights import WeightsUnavailable, ensure_weights

OLLAMA = ("127.0.0.1", 11434)
SETTINGS = Path("settings.toml")


def is_wanted() -> bool:
    """Whether the worker will want it: a guess, for the decision is made in runtime/model_backend.py."""
    return not (os.environ.get("OLLAMA_HOST") or _names_a_host() or _somebody_listens())


def _names_a_host() -> bool:
    try:
        return bool(tomllib.loads(SETTINGS.read_text(encoding="utf-8-sig"))["models"]["host"])
    except (OSError, ValueError, LookupError, TypeError):
        return True  # a broken file; the worker will say so


def _somebody_listens() -> bool:
    try:
        socket.create_connection(OLLAMA, timeout=1).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        pass
    return True


if __name__ == "__main__":
    try:
        if is_wanted():
            ensure_weights()
    except (KeyboardInterrupt, WeightsUnavailable):
        sys.exit(1)  # the worker tries again, and says why if it cannot
