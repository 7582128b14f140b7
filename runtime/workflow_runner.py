"""How workflows run in a worker, on a machine that may leave it no time for seconds, and after its death."""

import threading
import time

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from messages.names import ASK_AGAIN


class PatientRunner(SandboxedWorkflowRunner):
    """The sandbox of the SDK, whose workflows are not interrupted in the middle of a step.

    The SDK takes a step of two seconds for a deadlock and raises an error inside of it, wherever that is.
    Where a model takes all cores a step may be that slow by itself; the error can then leave the workflow in
    a state in which it is never put away, and its image waits until the worker is killed. Without the
    interruption the workflow task fails all the same, and is tried again once the step has ended.

    Only then is the workflow put away. The SDK means to wait for that, too, but what it waits for is a future
    that it has cancelled itself: it would put the workflow away while another thread is in the step.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sent_away: SentAway = {}

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        instance = super().create_instance(det)
        # The SDK interrupts the thread that this tells, and none where it tells none.
        instance.get_thread_id = lambda: None  # type: ignore[method-assign]
        instance.activate = InStep(instance, self._sent_away).activate  # type: ignore[method-assign]
        return instance


EVENTS_TO_THE_NEXT_TASK = 3
"""From the start of a workflow task to that of the next one: it ends, and the next one is scheduled."""


STARTS_WITHIN_SECONDS = 1.5
"""How long a query is told to come again: a task that waits like itself starts within milliseconds."""
REMEMBERED = 1_000
"""Runs of which it is known how far they had come when a query was told so, and when that was first."""
SentAway = dict[str, tuple[int, float]]


class InStep:
    """A workflow that takes no step before its workflow task has started.

    A query that has waited for a worker may reach it together with events of which no workflow task was
    started yet: a timer that has fired meanwhile, a signal. The SDK would let the workflow act on them at
    once, at the time of the task before, and on the updates of the task itself after that; a replay has all
    of it together, at the time of the task, and takes updates first. Then the two may differ, and the
    workflow can never be replayed again. So such a step fails: the query is told to come again, the worker
    puts the workflow away, and replays it when its task has started.

    Where no task starts for a while, none may ever do, as in a workflow that was terminated: the query is
    answered. If a task does start then, it is failed once, and taken again with all that came before it. So
    is the task after events that were taken together with tasks without commands: only it shows that.
    """

    def __init__(self, instance: WorkflowInstance, sent_away: SentAway) -> None:
        self._activate = instance.activate
        self._sent_away = sent_away
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
        if kinds & {"query_workflow", "remove_from_cache"}:
            return self._activate(act)
        # Old servers tell no size: there all is as the SDK has it.
        if act.history_size_bytes and self._task is not None:
            if self._has_not_started(act):
                if self._is_sent_away(act):
                    return _failed(act, ASK_AGAIN)
                self._too_early = True
            elif self._too_early or self._follows_too_soon(act):
                return _failed(act, "A query had come before this workflow task; it is taken again.")
        self._task, self._history_length = _task_of(act), act.history_length
        done = self._activate(act)
        self._only_refused = _refuses_only(done)
        return done

    def _has_not_started(self, act: WorkflowActivation) -> bool:
        """Whether these events are of no new task: each tells the size of the history, which grows."""
        return _task_of(act) == self._task and act.history_length > self._history_length

    def _is_sent_away(self, act: WorkflowActivation) -> bool:
        """Whether whoever asks is to come again; no more once nothing has happened for a while."""
        length, since = self._sent_away.pop(act.run_id, (0, 0.0))
        if length != act.history_length:
            length, since = act.history_length, time.monotonic()
        self._sent_away[act.run_id] = length, since
        if len(self._sent_away) > REMEMBERED:
            self._sent_away.pop(next(iter(self._sent_away)), None)
        return time.monotonic() < since + STARTS_WITHIN_SECONDS

    def _follows_too_soon(self, act: WorkflowActivation) -> bool:
        """Whether this task has started sooner after the last than one can after another.

        But a task that has only refused updates is forgotten by the server, which counts on from before it.
        """
        newer = act.history_length - self._history_length
        soon = _task_of(act) != self._task and 0 < newer < EVENTS_TO_THE_NEXT_TASK
        return soon and not self._only_refused


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
