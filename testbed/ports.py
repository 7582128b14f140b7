"""Ports for servers that cannot choose their own, and for those that are not there.

They lie below the ports that a system hands out by itself (Linux from 32768 on, others from 49152): until the
server is up, no connection that happens to be opened meanwhile takes its port.
"""

import random
import socket

OWN_CHOICE = range(20_000, 32_000)
# Not the common generator: hypothesis seeds it, and then two runs at once would choose the same.
CHANCE = random.SystemRandom()


def free_port() -> int:
    """A port that nobody listens on."""
    while True:
        port = CHANCE.choice(OWN_CHOICE)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def free_ports() -> tuple[int, int]:
    """One for a Temporal server, one for its Web UI."""
    port, ui_port = free_port(), free_port()
    return (port, ui_port) if port != ui_port else free_ports()
