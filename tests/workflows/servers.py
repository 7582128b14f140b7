"""Dev servers of their own, for tests that need another behaviour of the server than the common one has."""

from temporalio.testing import TimeSkippingConfig, WorkflowEnvironment

from connection.asking import AskingAgain
from connection.codec import data_converter
from messages.names import SEARCH_ATTRIBUTES
from runtime.dev_server import DYNAMIC_CONFIG
from testbed.processes import TEMPORAL


async def server_with_movable_clocks(events_a_run: int = 4096) -> WorkflowEnvironment:
    """A dev server whose workflows live in real time until a test moves the clock of one (`fast_forward`).

    It suggests continue-as-new after so many events; 4096 is the server's own default.
    """
    values = (
        *DYNAMIC_CONFIG,
        "frontend.WorkflowTimeSkippingEnabled=true",
        f"limit.historyCount.suggestContinueAsNew={events_a_run}",
    )
    return await WorkflowEnvironment.start_time_skipping_v2(
        ts_config=TimeSkippingConfig(enabled=False),
        data_converter=data_converter(),
        interceptors=[AskingAgain()],
        dev_server_existing_path=str(TEMPORAL),
        search_attributes=SEARCH_ATTRIBUTES,
        dev_server_extra_args=[word for value in values for word in ("--dynamic-config-value", value)],
    )
