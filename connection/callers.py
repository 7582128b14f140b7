"""Who calls a server of ours over HTTP: this machine, or somebody with a token."""

import hashlib
import hmac
import os
from ipaddress import ip_address


def is_here(host: str) -> bool:
    """Whether a host's name or address means this machine and no other."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


class BearerToken:
    """A token that callers send as `Authorization: Bearer ...`."""

    def __init__(self, token: str) -> None:
        self._digest = _digest(os.fsencode(token))

    def is_in(self, authorization: str) -> bool:
        """Whether a header brings it. How long that takes tells nothing of it."""
        scheme, _, given = authorization.encode("latin-1").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(_digest(given.strip()), self._digest)


def _digest(token: bytes) -> bytes:
    """Of one length for all tokens: a comparison tells nothing of it."""
    return hashlib.sha256(token).digest()
