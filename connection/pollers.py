"""Who asks the server for work."""

from collections.abc import Sequence

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

WORKFLOWS = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
ACTIVITIES = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


async def pollers_of(
    client: Client, task_queue: str, kind: TaskQueueType.ValueType = ACTIVITIES
) -> Sequence[PollerInfo]:
    """The pollers of a task queue. The server lists each for minutes after its last poll. Raises RPCError."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=task_queue), task_queue_type=kind
    )
    return (await client.workflow_service.describe_task_queue(request)).pollers
