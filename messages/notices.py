"""That something waits for a person, as they are told outside of our own faces."""

from datetime import datetime

from pydantic import BaseModel

from messages.loops import Change


class Notice(BaseModel):
    """What waits. Computed fields only: no word of a model's. `reminder`: half of the time is over."""

    image_id: str
    loop_id: str
    digest: str = ""
    changes: list[Change] = []
    expected: str = ""
    expires_at: datetime | None = None
    obstacle: bool = False
    urgent: bool = False
    reminder: bool = False

    def __str__(self) -> str:
        until = f" until {self.expires_at:%Y-%m-%d %H:%M} UTC" if self.expires_at else ""
        what = ", ".join(f"{each.key} {each.old} -> {each.new}" for each in self.changes)
        still = "still " if self.reminder else ""
        if self.obstacle:
            return f"{self.loop_id} is kept from settings.toml{until}: python starter.py show {self.loop_id}"
        urgent = "URGENT, a change does harm: " if self.urgent else ""
        expected = f" ({self.expected})" if self.expected else ""
        told = f"{urgent}{self.loop_id} {still}waits for you{until}: {what}{expected}"
        return f"{told}. python starter.py show {self.loop_id}"


class Notified(BaseModel):
    """How a person was told; nothing where settings.toml names no way."""

    by: str = ""
