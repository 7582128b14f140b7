"""What the environment tells HTTP clients: proxies, certificates, a key. Much of it is mistyped."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from urllib.request import getproxies_environment, proxy_bypass

import httpx

from configuration.passwords import masked
from messages.common import excerpt

_CERTIFICATES = "SSL_CERT_FILE"
_KEY = "OLLAMA_API_KEY"


@contextmanager
def set_aside() -> Iterator[None]:
    """Hide from a block whatever HTTP clients look for in the environment.

    For imports alone, when a process starts: other threads would not see these variables either.
    """
    others = ("OLLAMA_HOST", _CERTIFICATES, _KEY)
    names = [name for name in os.environ if name.upper().endswith("_PROXY") or name in others]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)


def fault() -> str:
    """Which variable keeps an HTTP client from being built, what is wrong with it, and what to do."""
    if not key_is_usable():
        return f"{_KEY} holds characters that no key has; correct it or unset it"
    named = getproxies_environment()
    for scheme in ("http", "https", "all"):
        if wrong := _proxy_fault(named.get(scheme, "")):
            proxy = excerpt(masked(named[scheme]))
            return (
                f'{_spelling(scheme)} names a proxy that cannot be used, "{proxy}" ({wrong}); '
                "correct it or unset it"
            )
    if wrong := _certificates_fault(os.environ.get(_CERTIFICATES, "")):
        return f"{_CERTIFICATES} names no usable certificates ({wrong}); correct it or unset it"
    return (
        f'{_spelling("no")} cannot be read, "{excerpt(named.get("no", ""))}"; '
        "write host names and single addresses without brackets, separated by commas, or unset it"
    )


def proxy_for(url: str) -> str:
    """The variable that names the proxy through which a URL is asked; nothing if it is asked directly."""
    place = httpx.URL(url)
    if proxy_bypass(place.host):
        return ""
    named = getproxies_environment()
    return next((_spelling(scheme) for scheme in (place.scheme, "all") if named.get(scheme)), "")


def key_is_usable() -> bool:
    """Whether the key for the model server, if there is one, may stand in a header."""
    key = os.environ.get(_KEY, "")
    return key.isascii() and key.isprintable()


def without_key(said: str) -> str:
    """What a server said, without the key that it was sent: some say which one they refuse."""
    key = os.environ.get(_KEY, "").strip()
    return said.replace(key, "…") if key else said


def _proxy_fault(proxy: str) -> str:
    if not proxy:
        return ""
    try:
        scheme = httpx.Proxy(proxy if "://" in proxy else f"http://{proxy}").url.scheme
    except (ValueError, httpx.InvalidURL) as error:
        return "it must begin with http:// or https://" if "scheme" in str(error) else str(error)
    if scheme.startswith("socks") and find_spec("socksio") is None:
        return "SOCKS needs the package socksio, which is not installed"
    return ""


def _certificates_fault(file: str) -> str:
    if not file:
        return ""
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:
        return excerpt(f"{file}: {error.strerror or error}")
    return ""


def _spelling(scheme: str) -> str:
    """The variable as it is spelled in the environment. Where both are, the lower-case one counts."""
    small = f"{scheme}_proxy"
    return small if small in os.environ else small.upper()
