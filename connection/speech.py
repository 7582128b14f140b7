"""What is being said at this moment: the heartbeats of a running call tell it, and no history keeps it."""

from datetime import timedelta

from pydantic import ValidationError
from temporalio.client import Client, WorkflowExecutionDescription

from connection.server import if_there
from messages.calls import Heard

ANSWER_WITHIN = timedelta(seconds=5)


async def heard_of(client: Client, workflow_id: str) -> Heard | None:
    """The latest heartbeat of a dialogue's running call, at most a second old; None between calls.

    Raises RPCError where the server does not answer.
    """
    dialogue = client.get_workflow_handle(workflow_id)
    described = await if_there(dialogue.describe(rpc_timeout=ANSWER_WITHIN))
    return await heard_in(client, described) if described else None


async def heard_in(client: Client, described: WorkflowExecutionDescription) -> Heard | None:
    """What is heard of a dialogue that has just been described; None between calls."""
    for pending in described.raw_description.pending_activities:
        details = pending.heartbeat_details.payloads
        if not details:
            continue
        try:
            [heard] = await client.data_converter.decode(details, [Heard])
        except (ValidationError, ValueError, RuntimeError):  # of another activity, or of another version
            continue
        return heard if isinstance(heard, Heard) else None
    return None
