"""Where a door listens and for whom: what a worker must know of it before, or without, opening one."""

import os
import socket
from itertools import zip_longest

from connection.callers import is_here
from connection.problems import Problem

DEFAULT_PORT = 7411
TOKEN = "LIVING_IMAGE_DOOR_TOKEN"


def token() -> str:
    """What a client must know; nothing: it need not."""
    return os.environ.get(TOKEN, "").strip()


def with_port(words: list[str]) -> list[str]:
    """A command line in which `--door` alone has its usual port: typer wants a value for every option."""
    return [
        f"--door={DEFAULT_PORT}" if word == "--door" and not following.isdigit() else word
        for word, following in zip_longest(words, words[1:], fillvalue="")
    ]


def open_socket(host: str, port: int) -> socket.socket:
    """Where the door listens; port 0: a free one. Raises Problem, too, where anybody could come in."""
    if not is_here(host) and not token():
        raise Problem(
            f"--door-host {host} is open to others than this machine; set {TOKEN}, which clients send as "
            "their API key, or leave the door on 127.0.0.1"
        )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Problem(
            f"The door cannot listen on {host}, port {port} ({reason}); choose another with --door PORT "
            "or --door-host"
        ) from None


def url_of(host: str, listening: socket.socket) -> str:
    """What a client is given as its base URL."""
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}:{listening.getsockname()[1]}/v1"
