"""Dev servers of their own, for tests that need another behaviour of the server than the common one has."""

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import TimeSkippingConfig, WorkflowEnvironment

from tests.conftest import SEARCH_ATTRIBUTES, TEMPORAL

QUICK_TASKS = "history.transferProcessorMaxPollRPS=2000"
MOVABLE_CLOCKS = "frontend.WorkflowTimeSkippingEnabled=true"


async def server_with_movable_clocks(*dynamic_config: str) -> WorkflowEnvironment:
    """A dev server whose workflows live in real time until a test moves the clock of one (`fast_forward`)."""
    values = (QUICK_TASKS, MOVABLE_CLOCKS, *dynamic_config)
    return await WorkflowEnvironment.start_time_skipping_v2(
        ts_config=TimeSkippingConfig(enabled=False),
        data_converter=pydantic_data_converter,
        dev_server_existing_path=str(TEMPORAL),
        search_attributes=SEARCH_ATTRIBUTES,
        dev_server_extra_args=[word for value in values for word in ("--dynamic-config-value", value)],
    )


def suggest_continue_as_new_after(events: int) -> str:
    return f"limit.historyCount.suggestContinueAsNew={events}"
