"""What has become of the image's children: asked only for those that it cannot await itself."""

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from messages.image import ClosedChild


class Children:
    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn
    async def find_closed(self, workflow_ids: list[str]) -> list[ClosedChild]:
        """Those of the given workflows that no longer run, with how they ended."""
        closed = []
        for workflow_id in workflow_ids:
            try:
                description = await self._client.get_workflow_handle(workflow_id).describe()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                closed.append(ClosedChild(workflow_id=workflow_id, how="not found"))
                continue
            status = description.status
            if status is not None and status is not WorkflowExecutionStatus.RUNNING:
                closed.append(ClosedChild(workflow_id=workflow_id, how=status.name.lower()))
        return closed
