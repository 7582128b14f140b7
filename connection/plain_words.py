"""What Temporal's client raises about a workflow, as one sentence for a person."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from temporalio.client import (
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError, TimeoutError
from temporalio.service import RPCError, RPCStatusCode

from connection.problems import Problem, Refused, Unknown
from messages.names import NOT_IN_TIME

# The server's words for "nobody polled in time" differ with where the call was waiting.
NOBODY_ANSWERS = (
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.FAILED_PRECONDITION,
)
# What it says of a workflow that a worker has, and cannot go on with.
TASK_FAILS = "Workflow Task in failed state"


class Addressee(NamedTuple):
    """Who is spoken to: a workflow as a person calls it, and what to say where there is none."""

    name: str
    missing: Refused | Unknown


@contextmanager
def in_plain_words(server: str, to: Addressee) -> Iterator[None]:
    """Turn what Temporal's client raises about a workflow into a Problem."""
    try:
        yield
    except WorkflowUpdateFailedError as error:
        nobody = isinstance(error.cause, ApplicationError) and error.cause.type == NOT_IN_TIME
        kind, sentence = reason(error.cause)
        if not isinstance(error.cause, ApplicationError):
            sentence = f"{kind}: {sentence}"
        raise (Problem(sentence) if nobody else Refused(sentence, kind)) from None
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from None
        raise _no_worker(server, to.name) from None
    except WorkflowQueryFailedError as error:
        raise Problem(f"{to.name} cannot answer: {error.message}") from None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise to.missing from None
        if TASK_FAILS in error.message:
            raise Problem(
                f"{to.name[:1].upper()}{to.name[1:]} does not go on: its workflow task fails, and is tried "
                "again. If this stays, python starter.py doctor says why and what to do"
            ) from None
        if error.status in NOBODY_ANSWERS:
            raise _no_worker(server, to.name) from None
        raise Problem(
            f"The Temporal server at {server} does not serve this ({error.status.name}: {error.message}). "
            "See whether it and a worker run, then try again"
        ) from None


def failure(error: WorkflowFailureError) -> str:
    """Why a workflow failed, as `Type: reason`."""
    return ": ".join(filter(None, reason(error.cause)))


def reason(cause: BaseException) -> tuple[str, str]:
    """The type of a failure, which may be nothing, and its reason in words."""
    match cause:
        case ApplicationError():
            return cause.type or "", cause.message
        case TerminatedError():
            return "Terminated", "somebody ended its workflow"
        case CancelledError():
            return "Cancelled", "somebody cancelled its workflow"
        case TimeoutError():
            return "TimedOut", "its workflow ran out of time"
    return type(cause).__name__, str(cause)


def _no_worker(server: str, name: str) -> Problem:
    return Problem(
        f"No worker answers for {name} at {server}. Start one: python worker.py; "
        "what was sent may still be carried out then"
    )
