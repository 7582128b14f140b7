"""Whether a Temporal server is there, and whether its namespace is prepared as the image needs it."""

import asyncio
import time
from datetime import timedelta
from typing import Any

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from connection import namespace
from connection.problems import Problem
from connection.server import target
from desk.doctor.finding import FIX, Finding, Patient, Tell, broken
from messages.names import SEARCH_ATTRIBUTES

# As long as Temporal Cloud can keep them; a server of one's own keeps them as long as it is told to.
ENOUGH_RETENTION = timedelta(days=90)
# A person notices no less in the times that are shown. Nothing else depends on it: timers are the server's.
MOST_SKEW = timedelta(seconds=5)


async def server(patient: Patient) -> list[Finding]:
    if isinstance(patient.server, Problem):
        return [broken("server", patient.server)]
    client, began = patient.server, time.perf_counter()
    version = (await client.workflow_service.get_system_info(GetSystemInfoRequest())).server_version
    milliseconds = (time.perf_counter() - began) * 1000
    where = f"{target(client)}, namespace {client.namespace!r}, Temporal {version}"
    return [Finding(check="server", figure=f"{where}, answers in {milliseconds:.0f} ms")]


async def namespace_retention(patient: Patient) -> list[Finding]:
    client = patient.client
    kept = await namespace.retention(client)
    finding = Finding(check="retention", figure=f"ended workflows are kept for {_told(kept)}")
    if kept >= ENOUGH_RETENTION:
        return [finding]

    async def mend(tell: Tell) -> str:
        tell("raising the retention")
        try:
            await namespace.keep_closed_runs(client)
        except RPCError as error:
            raise Problem(
                f"The retention of namespace {client.namespace!r} cannot be raised ({error.message}); "
                "ask whoever runs the server to raise it as far as it goes"
            ) from None
        return f"ended workflows are now kept for {namespace.RETENTION.days} days"

    advice = (
        f"What was argued out is lost after that. Raise it: {FIX}, or `temporal operator namespace update "
        f"--namespace {client.namespace} --retention {namespace.RETENTION.days}d`"
    )
    return [finding.model_copy(update={"state": "warning", "advice": advice, "mend": mend})]


def _told(duration: timedelta) -> str:
    if duration < timedelta(days=1):
        return f"{duration / timedelta(hours=1):g} hours"
    return f"{duration.days} day{'s' * (duration.days != 1)}"


async def search_attributes(patient: Patient) -> list[Finding]:
    client = patient.client
    present = await namespace.present_search_attributes(client)
    missing = [key for key in SEARCH_ATTRIBUTES if key.name not in present]
    others = [key for key in SEARCH_ATTRIBUTES if present.get(key.name) not in (None, key.indexed_value_type)]
    if others:
        return [_wrong_type(client, others)]
    if not missing:
        names = ", ".join(key.name for key in SEARCH_ATTRIBUTES)
        return [Finding(check="search attributes", figure=f"{names} are there")]

    async def mend(tell: Tell) -> str:
        tell("creating the search attributes")
        await namespace.ensure_search_attributes(client)
        return f"created the search attributes {', '.join(key.name for key in missing)}"

    return [
        Finding(
            check="search attributes",
            state="broken",
            figure=f"{', '.join(key.name for key in missing)} missing; every workflow task fails",
            advice=f"Create them: {FIX}, or `temporal operator search-attribute create "
            f"--namespace {client.namespace} {namespace.wishes(missing)}`",
            mend=mend,
        )
    ]


def _wrong_type(client: Client, keys: list[SearchAttributeKey[Any]]) -> Finding:
    names = " ".join(f"--name {key.name}" for key in keys)
    return Finding(
        check="search attributes",
        state="broken",
        figure=f"{', '.join(f'{key.name} is not a {namespace.type_name(key)}' for key in keys)}",
        advice="They belong to another program, or were made by hand. Use another namespace "
        "(TEMPORAL_NAMESPACE), or, if nothing needs them, `temporal operator search-attribute remove "
        f"--namespace {client.namespace} {names}` and then {FIX}",
    )


async def clock(patient: Patient) -> list[Finding]:
    return [clock_finding(*await asyncio.shield(patient.offset))]


def clock_finding(ahead: timedelta, give_or_take: timedelta) -> Finding:
    way = "ahead of" if ahead > timedelta() else "behind"
    figure = (
        f"the server's clock is {abs(ahead).total_seconds():.3f} s {way} this one, "
        f"give or take {give_or_take.total_seconds():.3f} s"
    )
    if abs(ahead) - give_or_take <= MOST_SKEW:
        return Finding(check="clock", figure=figure)
    advice = (
        "Times shown here are wrong by that. Set both clocks by NTP: see `timedatectl status` on each machine"
    )
    return Finding(check="clock", state="warning", figure=figure, advice=advice)
