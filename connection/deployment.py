"""Which version of the program the server gives workflows to, where workers are pinned to theirs."""

import asyncio
from datetime import timedelta

from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from connection.problems import Problem
from connection.server import target
from connection.version import NAME, VERSION

# A deployment exists once the server has heard of one of its workers.
KNOWN_WITHIN = timedelta(seconds=20)
PAUSE_SECONDS = 0.2


async def current_version(client: Client) -> str:
    """The current version, this one if there was none. Raises Problem.

    Without any, no worker would be given anything. Another stays until a person says so: `how_to_advance`.
    """
    describe = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=NAME)
    try:
        async with asyncio.timeout(KNOWN_WITHIN.total_seconds()):
            while True:
                try:
                    told = await client.workflow_service.describe_worker_deployment(describe)
                    current = told.worker_deployment_info.routing_config.current_deployment_version.build_id
                    if current:
                        return current
                    await client.workflow_service.set_worker_deployment_current_version(
                        SetWorkerDeploymentCurrentVersionRequest(
                            namespace=client.namespace,
                            deployment_name=NAME,
                            build_id=VERSION,
                            conflict_token=told.conflict_token,
                        )
                    )
                except RPCError as error:
                    if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION):
                        raise Problem(
                            f"--pinned needs a server with worker versioning that lets this worker see and "
                            f"name the current version, and it says: {error.message}"
                        ) from None
                    await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError:
        raise Problem(f"the server does not know the deployment {NAME} of this worker") from None


def how_to_advance(client: Client) -> str:
    """The command by which a person lets this version go on."""
    named = f"--deployment-name {NAME} --build-id {VERSION}"
    server = f"--address {target(client)} --namespace {client.namespace}"
    return f"temporal worker deployment set-current-version {named} {server}"
