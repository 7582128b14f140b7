"""How this project reaches a Temporal server: by Temporal's own environment configuration, no keys of ours.

That is the environment (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS...`)
over a profile (`TEMPORAL_PROFILE`) of the file that `temporal config` writes.
"""

import asyncio
import os
import re
from collections.abc import Awaitable
from dataclasses import replace
from typing import TypeVar

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfigProfile
from temporalio.service import RPCError, RPCStatusCode

from connection import tracing
from connection.asking import AskingAgain
from connection.codec import data_converter
from connection.problems import Problem

DEFAULT_ADDRESS = "127.0.0.1:7233"
# Far more than a handshake across the world takes; an address that swallows packets would hang for minutes.
CONNECT_SECONDS = 10
# What the SDK's TLS library says of a failed handshake, and what that means to a person.
HANDSHAKES = {
    r"InvalidCertificate\((\w+)": "its certificate is not trusted, {}: see TEMPORAL_TLS_SERVER_CA_CERT_PATH",
    r"InvalidMessage\((InvalidContentType)": "it does not speak TLS, {}: see TEMPORAL_TLS",
}

Answer = TypeVar("Answer")


class ServerUnreachable(Problem):
    """No Temporal server answers, or it does not know the namespace."""


def profile() -> ClientConfigProfile:
    """The environment configuration in force. Raises Problem where it cannot be read."""
    # Only what is Temporal's: the SDK panics at any variable that is not UTF-8, such as PWD in a folder whose
    # name is not.
    ours = {name: value for name, value in os.environ.items() if name.startswith("TEMPORAL_")}
    try:
        return ClientConfigProfile.load(override_env_vars=ours)
    except (RuntimeError, OSError, UnicodeEncodeError) as error:
        fault = " ".join(str(error).split())
        raise Problem(
            f"Temporal's environment configuration cannot be read: {fault}; "
            "correct the file that TEMPORAL_CONFIG_FILE names, or TEMPORAL_PROFILE"
        ) from None


def is_configured() -> bool:
    """Whether TEMPORAL_ADDRESS or the profile names a server."""
    return profile().address is not None


async def connect(address: str | None = None) -> Client:
    """A client for the configured server, or ours at `address` (no TLS, no key).

    Raises ServerUnreachable, or Problem for the keys of LIVING_IMAGE_KEYS.
    """
    chosen = profile()
    if address is not None:
        chosen = ClientConfigProfile(namespace=chosen.namespace)
    where = address or chosen.address or DEFAULT_ADDRESS
    converter = data_converter()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            client = await Client.connect(
                **replace(chosen, address=where).to_client_connect_config(),
                data_converter=converter,
                interceptors=[AskingAgain(), *tracing.interceptors()],
            )
            await _require_namespace(client, where)
    except (RuntimeError, RPCError, TimeoutError, OSError, ValueError) as error:
        raise ServerUnreachable(
            f"No Temporal server answers at {where} ({_reason(error)}); start one with "
            "`python worker.py --dev`, or set TEMPORAL_ADDRESS to one that runs"
        ) from None
    return client


async def if_there(answer: Awaitable[Answer]) -> Answer | None:
    """What the server answers about a workflow; None where it knows no such one. Raises RPCError."""
    try:
        return await answer
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


def target(client: Client) -> str:
    """The address that a client is connected to."""
    return client.service_client.config.target_host


async def _require_namespace(client: Client, where: str) -> None:
    try:
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise ServerUnreachable(
            f"The Temporal server at {where} has no namespace {client.namespace!r}; create it with "
            f"`temporal operator namespace create --namespace {client.namespace}`, or set TEMPORAL_NAMESPACE"
        ) from None


def _reason(error: Exception) -> str:
    """The innermost cause: the SDK's own text is a nest of Rust debug output."""
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS} s"
    for fault, meaning in HANDSHAKES.items():
        if found := re.search(fault, str(error)):
            return meaning.format(found.group(1))
    causes: list[str] = re.findall(r'(?:message|error): "([^"]+)"', str(error))
    return causes[-1] if causes else " ".join(str(error).split())
