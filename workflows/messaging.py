"""How handlers take what they are sent: anything may come by hand, and nothing may stick a workflow."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType

with workflow.unsafe.imports_passed_through():
    from messages.names import NOT_IN_TIME

Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")


def take(model: type[Model], message: Any) -> Model:
    """Read a handler's argument. Raises ApplicationError `BadMessage`, which says what is expected.

    Temporal itself would drop what it cannot convert (signals), or refuse it without the reason (updates).
    """
    try:
        # Bytes and the like are no JSON; their repr is refused in the same words as any other nonsense.
        return model.model_validate_json(json.dumps({} if message is None else message, default=repr))
    except ValidationError as error:
        fields = ", ".join(model.model_fields)
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False)[:5]
        )
        refuse(f"expected a JSON object with {fields}; {faults}", "BadMessage")


def refuse(reason: str, kind: str = "Refused") -> NoReturn:
    """Answer an update with no. Any other exception would retry the workflow task for ever."""
    raise ApplicationError(reason, type=kind, non_retryable=True)


async def tell_image(image_id: str, signal: str, news: BaseModel) -> None:
    """What a child tells its image. One that is gone takes nothing; what it came to stands in the child."""
    try:
        await workflow.get_external_workflow_handle(image_id).signal(signal, news)
    except ApplicationError as error:
        workflow.logger.warning("The image %s did not take %s: %s", image_id, signal, error)


def failure_text(error: BaseException | None, with_type: bool = True) -> str:
    """Why an activity failed, as `Type: message` or the message alone."""
    cause = error.cause if isinstance(error, ActivityError) else error
    kind, message = type(cause).__name__.removesuffix("Error"), str(cause)
    match cause:
        case ApplicationError():
            kind, message = cause.type or kind, cause.message
        # Only what touches files waits no longer than so long for a worker.
        case TimeoutError(type=TimeoutType.SCHEDULE_TO_START):
            message = "no files worker has done it in time; run `python worker.py` where settings.toml is"
        case TimeoutError(type=TimeoutType.SCHEDULE_TO_CLOSE | TimeoutType.START_TO_CLOSE):
            message = (
                "a worker has begun it and not ended it in time; see whether it runs and its disk answers"
            )
    return f"{kind}: {message}" if with_type else message


def refuse_failed(error: ActivityError, reason: str, kind: str) -> NoReturn:
    """Answer an update whose order failed: with its kind, unless nobody carried the order out in time."""
    refuse(reason, NOT_IN_TIME if isinstance(error.cause, TimeoutError) else kind)


async def outlive_cancellation(life: Coroutine[Any, Any, Result]) -> Result:
    """Run `life` to its end, whoever presses the Web UI's large button "Request Cancellation"."""
    task = asyncio.create_task(life)
    while not task.done():
        try:
            await workflow.wait([task])
        except asyncio.CancelledError:
            workflow.logger.warning("A request for cancellation was outlived")
    return task.result()
