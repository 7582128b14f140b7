"""Which models a model server has, or why it cannot be asked, in a person's words."""

import asyncio
import socket
import ssl
from collections.abc import Iterator

import httpx

from activities.model_server.client import (
    CONNECT_SECONDS,
    NOT_OLLAMA,
    AddressBroken,
    ResponseError,
    full_name,
    model_client,
    named_by,
    proxy_for,
)
from activities.model_server.environment import without_key
from connection.problems import Problem
from messages.common import excerpt

# An Ollama that is there lists its models at once, whatever it computes meanwhile. A busy machine may not.
PROBE_SECONDS = 8


class NoModel(Problem):
    """No language model is there to answer."""


class NoServer(NoModel):
    """The machine is there and refuses the connection: no model server runs on it."""


async def pulled_models(host: str) -> set[str]:
    """The models that the Ollama server at `host` has. Raises NoServer, or NoModel for all other reasons."""
    try:
        async with (
            asyncio.timeout(CONNECT_SECONDS + PROBE_SECONDS),
            model_client(host, PROBE_SECONDS) as client,
        ):
            found = (await client.list()).models
    except (ConnectionError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise _not_connected(host, error) from None
    except (TimeoutError, httpx.TimeoutException):
        raise NoModel(
            f"The server at {host} did not list its models within {PROBE_SECONDS} s; see its log, "
            f"start again once it answers, or correct {named_by(host)}"
        ) from None
    except AddressBroken as error:
        raise NoModel(str(error)) from None
    except ResponseError as error:
        raise NoModel(_refusal(host, error)) from None
    except NOT_OLLAMA:
        raise NoModel(_no_ollama(host, "no list of models")) from None
    return {model.model for model in found if model.model}


def _not_connected(host: str, error: BaseException) -> NoModel:
    """What it means that there was no connection, from the errors below the one that the client raises."""
    if proxy := proxy_for(host):
        return NoModel(
            f"{host} cannot be reached through the proxy that {proxy} names; correct {proxy}, or write the "
            "host into NO_PROXY to ask it directly"
        )
    causes = list(_with_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return NoModel(
                f"{host} cannot be trusted ({excerpt(cause.reason or str(cause))}); "
                f"correct {named_by(host)}, or name its certificate authority's file in SSL_CERT_FILE"
            )
        if isinstance(cause, socket.gaierror):
            return NoModel(f"Nobody knows the host of {host} ({cause.strerror}); correct {named_by(host)}")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return NoServer(
            f"No Ollama answers at {host}; start it with `ollama serve`, name another in [models] host or "
            "OLLAMA_HOST, or let `python worker.py --dev` bring a small embedded model"
        )
    said = (cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror)
    reason = next(said, f"no answer within {CONNECT_SECONDS} s")
    return NoModel(
        f"{host} cannot be reached ({reason}); see whether its machine runs and lets this one in, "
        f"or correct {named_by(host)}"
    )


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that are behind it: a host with several addresses has an error for each."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _with_causes(each)
        error = error.__cause__ or error.__context__


def _refusal(host: str, error: ResponseError) -> str:
    said = f"{error.status_code}: {excerpt(without_key(str(error.error)))}"
    if error.status_code in (401, 403, 407):
        return (
            f"What answers at {host} wants a key or lets nobody in ({said}); set OLLAMA_API_KEY to its key, "
            f"or correct {named_by(host)}"
        )
    if error.status_code >= 500 or error.status_code == 429:
        return (
            f"The server at {host} answers with an error ({said}); see its log, or that of the proxy "
            f"in front of it, or correct {named_by(host)}"
        )
    return _no_ollama(host, said)


def _no_ollama(host: str, said: str) -> str:
    return f"What answers at {host} does not speak the Ollama API ({said}); correct {named_by(host)}"


def is_pulled(model: str, pulled: set[str]) -> bool:
    """Whether a model is among those, by the names as Ollama compares them."""
    return full_name(model) in map(full_name, pulled)
