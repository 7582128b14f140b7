"""What the workflows need of a Temporal namespace."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from connection.problems import Problem
from messages.names import SEARCH_ATTRIBUTES

# The image is its history, so closed runs are kept; the server's own default is 24 hours.
RETENTION = timedelta(days=3650)


def type_name(key: SearchAttributeKey[Any]) -> str:
    """The type of a search attribute in the words of Temporal's command line, such as `Bool`."""
    return key.indexed_value_type.name.title()


def wishes(keys: Iterable[SearchAttributeKey[Any]]) -> str:
    """The options by which Temporal's command line creates search attributes."""
    return " ".join(f"--name {key.name} --type {type_name(key)}" for key in keys)


async def present_search_attributes(client: Client) -> Mapping[str, int]:
    """The custom search attributes of the namespace, by name: the number of each one's type."""
    request = ListSearchAttributesRequest(namespace=client.namespace)
    return (await client.operator_service.list_search_attributes(request)).custom_attributes


async def ensure_search_attributes(client: Client) -> None:
    """Create what is missing; without it every workflow task fails. Raises Problem where it may not be."""
    namespace = client.namespace
    try:
        present = await present_search_attributes(client)
        missing = {
            key.name: IndexedValueType.ValueType(key.indexed_value_type)
            for key in SEARCH_ATTRIBUTES
            if key.name not in present
        }
        if missing:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(namespace=namespace, search_attributes=missing)
            )
    except RPCError as error:
        raise Problem(
            f"The search attributes of namespace {namespace!r} cannot be prepared ({error.message}); "
            f"ask whoever runs the server for `temporal operator search-attribute create "
            f"{wishes(SEARCH_ATTRIBUTES)}`"
        ) from None


async def retention(client: Client) -> timedelta:
    """How long the server keeps the histories of workflows that have ended."""
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace)
    )
    return described.config.workflow_execution_retention_ttl.ToTimedelta()


async def keep_closed_runs(client: Client) -> None:
    """Have the server keep the histories of workflows that have ended for RETENTION."""
    config = NamespaceConfig()
    config.workflow_execution_retention_ttl.FromTimedelta(RETENTION)
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(namespace=client.namespace, config=config)
    )
