"""How workflows run in a worker, on a machine that may leave it no time for seconds."""

from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner


class PatientRunner(SandboxedWorkflowRunner):
    """The sandbox of the SDK, whose workflows are not interrupted in the middle of a step.

    The SDK takes a step of two seconds for a deadlock and raises an error inside of it, wherever that is.
    Where a model takes all cores a step may be that slow by itself; the error can then leave the workflow in
    a state in which it is never put away, and its image waits until the worker is killed. Without the
    interruption the workflow task fails all the same, and is tried again once the step has ended.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        instance = super().create_instance(det)
        # The SDK interrupts the thread that this tells, and none where it tells none.
        instance.get_thread_id = lambda: None  # type: ignore[method-assign]
        return instance
