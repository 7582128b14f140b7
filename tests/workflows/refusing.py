"""How an update is refused."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError


async def refusal(sent: Awaitable[Any]) -> ApplicationError:
    with pytest.raises(WorkflowUpdateFailedError) as error:
        await asyncio.wait_for(sent, 60)
    assert isinstance(error.value.cause, ApplicationError)
    return error.value.cause
