"""How an image is, as metrics: asked of it now and then, for a worker that serves metrics."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from temporalio.client import Client
from temporalio.common import MetricMeter
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from messages.image import ImageStatus
from messages.metrics import QUEUED, RUNNING, SNAPSHOT_SECONDS, WAITING, WAITING_SECONDS
from messages.names import NEEDS_HUMAN

LOOK_EVERY_SECONDS = 15.0
"""As often as Prometheus asks by default."""
ANSWER_WITHIN = timedelta(seconds=10)

log = logging.getLogger(__name__)


class Gauges:
    """Of one image. Asking adds no event to its history."""

    def __init__(self, client: Client, image_id: str, meter: MetricMeter | None = None) -> None:
        meter = meter or Runtime.default().metric_meter
        self._client = client
        self._image = client.get_workflow_handle(image_id)
        self._of = {"image": image_id}
        self._queued = meter.create_gauge(QUEUED, "Tasks that wait")
        self._running = meter.create_gauge(RUNNING, "Tasks that run")
        self._waiting = meter.create_gauge(WAITING, "Loops that wait for a person")
        self._waiting_seconds = meter.create_gauge_float(WAITING_SECONDS, "Age of the oldest of these")
        self._snapshot_seconds = meter.create_gauge_float(SNAPSHOT_SECONDS, "Age of the last snapshot")

    async def run(self) -> None:
        """Look until cancelled; an image that does not answer now may answer later."""
        while True:
            try:
                await self.look()
            except RPCError as error:
                log.debug("The image could not be asked how it is: %r", error)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def look(self) -> None:
        """Raises RPCError."""
        status: ImageStatus = await self._image.query(
            "status", result_type=ImageStatus, rpc_timeout=ANSWER_WITHIN
        )
        now = datetime.now(UTC)
        since = [begun for loop_id in status.waiting_loops if (begun := await self._waits_since(loop_id))]
        self._queued.set(status.queued, self._of)
        self._running.set(status.running, self._of)
        self._waiting.set(len(since), self._of)
        self._waiting_seconds.set((now - min(since)).total_seconds() if since else 0.0, self._of)
        if status.saved_at is not None:
            self._snapshot_seconds.set((now - status.saved_at).total_seconds(), self._of)

    async def _waits_since(self, loop_id: str) -> datetime | None:
        """When a loop began that waits for a person now."""
        loop = await self._client.get_workflow_handle(loop_id).describe(rpc_timeout=ANSWER_WITHIN)
        return loop.start_time if loop.typed_search_attributes.get(NEEDS_HUMAN) else None
