"""Where a model server is, and the one place that builds clients of the `ollama` library for it."""

import os
import re
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import httpx

from activities.model_server import environment
from configuration.passwords import masked
from messages.common import excerpt

# This import builds a client of its own, from an environment that may allow of none.
with environment.set_aside():
    from ollama import AsyncClient, ChatResponse, ResponseError

__all__ = ["AsyncClient", "ChatResponse", "ResponseError"]

DEFAULT_HOST = "http://127.0.0.1:11434"
"""Where the ollama client looks too when nobody says otherwise; named here for error messages."""
CONNECT_SECONDS = 10
"""A host that is there answers a connection at once; answers themselves may take minutes."""
LINE_BYTES = 4_194_304
"""The longest line of an answer that is read: eight vectors take 700 kB, a piece of a text far less."""

NOT_OLLAMA = (
    *(httpx.HTTPError, httpx.InvalidURL, OSError),
    *(ValueError, TypeError, AttributeError, RecursionError),
)
"""What the client lets through where the other side does not say what the Ollama API would."""

_PORTS = {"http": 80, "https": 443}
_OLLAMA_PORT = 11434


class AddressBroken(ValueError):
    """No model server can be asked like this; the message says what is wrong, where, and what to do."""


def reach(host: str) -> str:
    """The model server to ask where [models] names this host, as a URL if it can be read as one."""
    named = host or os.environ.get("OLLAMA_HOST") or DEFAULT_HOST
    return _as_url(named) or named  # Whoever asks there is told.


def model_client(host: str, answer_seconds: float | None = None) -> AsyncClient:
    """A client of the model server at `host`. `answer_seconds`: the longest silence. Raises AddressBroken."""
    url = _as_url(host)
    if url is None:
        raise AddressBroken(
            f'"{excerpt(masked(host))}" is no address of a model server; correct {named_by(host)}, '
            f'to "{DEFAULT_HOST}" for instance'
        )
    if not environment.key_is_usable():
        raise AddressBroken(f"{url} cannot be asked: {environment.fault()}")
    try:
        return AsyncClient(
            url,
            timeout=httpx.Timeout(answer_seconds, connect=CONNECT_SECONDS),
            # What the environment says of proxies is not for models on this machine.
            trust_env=not _is_here(url),
            event_hooks={"response": [_mend]},
            headers={"accept-encoding": "identity"},
        )
    except (ValueError, httpx.InvalidURL, ImportError, OSError):
        raise AddressBroken(f"{url} cannot be asked: {environment.fault()}") from None


def named_by(host: str) -> str:
    """What a person has to correct if this is the wrong host."""
    named = os.environ.get("OLLAMA_HOST")
    return "OLLAMA_HOST" if named and host in (named, reach(named)) else "[models] host"


def proxy_for(host: str) -> str:
    """The variable that names the proxy before a model server; nothing if there is none."""
    url = _as_url(host)
    return "" if url is None or _is_here(url) else environment.proxy_for(url)


def refuses_think(error: ResponseError) -> bool:
    """Whether a model or a server does not know the field `think`: it then names it."""
    return error.status_code in (400, 422) and "think" in str(error.error).lower()


def full_name(model: str) -> str:
    """A model's name with all that Ollama adds to it: two names of one model become the same."""
    name = model.casefold().partition("://")[2] or model.casefold()
    *places, name = name.split("/")
    tagged = name if ":" in name else f"{name}:latest"
    return "/".join([*("registry.ollama.ai", "library")[: max(0, 2 - len(places))], *places, tagged])


# --- the address ----------------------------------------------------------------------------------


def _as_url(host: str) -> str | None:
    """The URL of a model server, read as Ollama itself reads OLLAMA_HOST; None where it cannot be read."""
    text = host.strip().strip("\"'")
    scheme, given, place = text.partition("://")
    scheme, place = (scheme.lower(), place) if given else ("http", text)
    if isinstance(_address(place.strip("/")), IPv6Address):
        place = f"[{place.strip('/')}]"
    try:
        parts = urlsplit(f"{scheme}://{place}")
        port = parts.port or (_PORTS[scheme] if given else _OLLAMA_PORT)
        name = _connectable(parts.hostname or "127.0.0.1")
        url = httpx.URL(f"{scheme}://{name}:{port}{parts.path.rstrip('/')}")
        if not place or parts.query or parts.fragment or any(letter in name for letter in "<> %,;\"'"):
            raise ValueError
    except (KeyError, ValueError, httpx.InvalidURL):
        return None
    return str(url)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _connectable(name: str) -> str:
    """A host as it is asked: 0.0.0.0 is where a server listens, and it is found on this machine."""
    address = _address(name)
    if address is None:
        return name
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return name if address.version == 4 else f"[{name}]"


def _is_here(url: str) -> bool:
    """Whether a URL is on this machine, however that is spelled."""
    name = httpx.URL(url).host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address is not None and (mapped or address).is_loopback


# --- what comes over the wire ---------------------------------------------------------------------

# Half of a character, escaped, is JSON, yet no text that holds it can be sent on. U+0085, U+2028 and U+2029
# end a line for httpx and would break one line of JSON into two; Ollama sends the first as it is.
_ODD = re.compile(
    rb"\\\\|(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|(\xc2\x85|\xe2\x80[\xa8\xa9])"
)


def mend_json(text: bytes) -> bytes:
    """JSON that every encoder and every reader of lines can take; a lone surrogate becomes U+FFFD."""

    def mended(found: re.Match[bytes]) -> bytes:
        _, lone, line_end = found.groups()
        if line_end:
            return f"\\u{ord(line_end.decode()):04x}".encode()
        return rb"\ufffd" if lone else found[0]

    return _ODD.sub(mended, text)


class _MendedLines(httpx.AsyncByteStream):
    """An answer line by line, each mended. Raises ValueError for one that is too long to be read."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        rest = b""
        async for chunk in self._stream:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield mend_json(line) + b"\n"
            if len(rest) > LINE_BYTES:
                raise ValueError(f"a line of more than {LINE_BYTES} bytes")
        yield mend_json(rest)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _mend(response: httpx.Response) -> None:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = _MendedLines(response.stream)
