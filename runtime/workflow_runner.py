"""How workflows run in a worker, on a machine that may leave it no time for seconds, and after its death."""

import threading

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner


class PatientRunner(SandboxedWorkflowRunner):
    """The sandbox of the SDK, whose workflows are not interrupted in the middle of a step.

    The SDK takes a step of two seconds for a deadlock and raises an error inside of it, wherever that is.
    Where a model takes all cores a step may be that slow by itself; the error can then leave the workflow in
    a state in which it is never put away, and its image waits until the worker is killed. Without the
    interruption the workflow task fails all the same, and is tried again once the step has ended.

    Only then is the workflow put away. The SDK means to wait for that, too, but what it waits for is a future
    that it has cancelled itself: it would put the workflow away while another thread is in the step.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        instance = super().create_instance(det)
        # The SDK interrupts the thread that this tells, and none where it tells none.
        instance.get_thread_id = lambda: None  # type: ignore[method-assign]
        instance.activate = InStep(instance).activate  # type: ignore[method-assign]
        return instance


EVENTS_TO_THE_NEXT_TASK = 3
"""From the start of a workflow task to that of the next one: it ends, and the next one is scheduled."""


class InStep:
    """A workflow that begins anew where it has taken a step before its workflow task had started.

    A query that has waited for a worker may reach it together with events of which no workflow task was
    started yet: a timer that has fired meanwhile, a signal. The SDK lets the workflow act on them at once,
    and on the updates of the task itself after that; a replay has all of it together, and takes updates
    first. Then the two differ, and the workflow can never be replayed again. So a task that brings more
    after such a step is failed once: the worker puts the workflow away, and replays it with all together.
    """

    def __init__(self, instance: WorkflowInstance) -> None:
        self._activate = instance.activate
        self._in_step = threading.Lock()
        self._task: tuple[int, int] | None = None
        self._history_length = 0
        self._too_early = False
        self._only_refused = False

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        with self._in_step:
            return self._step(act)

    def _step(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        kinds = {job.WhichOneof("variant") for job in act.jobs}
        if not kinds & {"query_workflow", "remove_from_cache"}:
            if self._follows_one_too_early(act):
                return _failed(act, "A query had come before this workflow task; it is taken again.")
            self._task, self._history_length = _task_of(act), act.history_length
            done = self._activate(act)
            self._only_refused = _refuses_only(done)
            return done
        return self._activate(act)

    def _follows_one_too_early(self, act: WorkflowActivation) -> bool:
        """Whether this is the task that the last step should have waited for.

        Each task that starts tells the size of the history, which grows: a step with new events and without
        a new task was too early. One that takes tasks without commands together with them is not seen by
        that; then the next task starts sooner after it than one can after another, but for a task that has
        only refused updates: the server forgets it, and counts on from before it.

        Old servers tell no size: there all is as the SDK has it.
        """
        if not act.history_size_bytes:
            return False
        newer, again = act.history_length - self._history_length, _task_of(act) == self._task
        was_too_early, self._too_early = self._too_early, again and newer > 0
        too_soon = self._task is not None and not again and 0 < newer < EVENTS_TO_THE_NEXT_TASK
        return not self._too_early and (was_too_early or (too_soon and not self._only_refused))


def _task_of(act: WorkflowActivation) -> tuple[int, int]:
    """What tells one workflow task from the next: when it was started, and the size of the history then."""
    return act.timestamp.ToNanoseconds(), act.history_size_bytes


def _refuses_only(done: WorkflowActivationCompletion) -> bool:
    """Whether all that a step has told the server is that it refuses updates."""
    commands = done.successful.commands
    return bool(commands) and all(command.update_response.HasField("rejected") for command in commands)


def _failed(act: WorkflowActivation, why: str) -> WorkflowActivationCompletion:
    done = WorkflowActivationCompletion(run_id=act.run_id)
    done.failed.failure.message = why
    return done
