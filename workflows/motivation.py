"""When the image looks for a goal of its own, and what it remembers of the goals it had. Pure."""

from datetime import datetime, timedelta

from pydantic import BaseModel

from configuration import MotivatorSettings
from messages.common import excerpt
from messages.names import inquiry_workflow_id
from messages.tasks import PerformanceLog

DAY = timedelta(days=1)
MOST_STARTED = 100
MOST_RECENT = 20


class Motivation(BaseModel):
    """What the image knows of its goals. With `[motivator] goals = false` nothing here ever changes.

    inquiry        the workflow id of the inquiry that runs, or empty
    started        when the latest inquiries were started, at most 100: as many as a day may have
    recent         the latest 20 goals; older ones: the workflows `<image_id>/inquiry/...`
    discord        which argument ended in discord and has not been looked into, or empty
    last           what the last inquiry came to
    """

    inquiry: str = ""
    next_number: int = 1
    started: list[datetime] = []
    recent: list[str] = []
    discord: str = ""
    last: str = ""

    def due(self, settings: MotivatorSettings, active_at: datetime) -> datetime | None:
        """When an image that is idle since `active_at` looks for a goal; None if it never does."""
        if not settings.goals or self.inquiry:
            return None
        idle = active_at if self.discord else active_at + settings.idle_after
        of_the_day = self.started[-settings.goals_per_day :]
        if len(of_the_day) < settings.goals_per_day:
            return idle
        return max(idle, of_the_day[0] + DAY)

    def note_discord(self, settings: MotivatorSettings, log: PerformanceLog, task: str) -> None:
        """Remember an argument that ended above the threshold, as a reason to look for a goal."""
        final = log.final_dissonance
        if settings.goals and final is not None and final > settings.inquiry_threshold:
            self.discord = f'the argument about "{excerpt(task)}" ended at dissonance {final:g}'

    def open(self, image_id: str, settings: MotivatorSettings, now: datetime) -> tuple[str, str]:
        """Begin an inquiry: its workflow id, and why it is begun."""
        reason = self.discord or f"nothing has happened for {settings.idle_after}"
        self.inquiry = inquiry_workflow_id(image_id, self.next_number)
        self.next_number += 1
        self.started = [*self.started, now][-MOST_STARTED:]
        self.discord = ""
        return self.inquiry, reason

    def conclude(self, came_to: str, goal: str = "") -> None:
        self.inquiry = ""
        self.last = excerpt(came_to, 300)
        if goal:
            self.recent = [*self.recent, excerpt(goal)][-MOST_RECENT:]
