"""What the tests of the image's memory start from."""

from datetime import UTC, datetime
from typing import Any

import tomlkit

from configuration import Settings
from configuration.team import TEAM
from messages.tasks import PerformanceLog
from testbed.world import SETTINGS
from workflows.image_state import ImageState
from workflows.ledger import Ledger

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SHIPPED = Settings.parse(tomlkit.parse(SETTINGS.read_text()).unwrap()).with_changes(
    {"system.image_id": "i" * 64, "system.task_queue": "q" * 64, "cadence.min_logs": 4}
)
TURNS, THRESHOLD = "autopoiesis.max_turns", "autopoiesis.convergence_threshold"
TEMPERATURE = "models.temperature"
LONG = 0.1 + 0.2
LONGEST = SHIPPED.with_changes(
    {
        TEMPERATURE: 0.1 * 7,
        **{f"temperatures.{member.key}": LONG for member in TEAM},
        **{TURNS: 10, THRESHOLD: LONG, "memory.recall": 10, "models.max_answer_tokens": 4096},
    }
)
"""Of those that take as many figures as they can in a log."""


def a_state() -> ImageState:
    return ImageState(image_id="i" * 64, started_at=NOW, ledger=Ledger(settings=SHIPPED))


def a_log(task_id: str, text: str = "question", **more: Any) -> PerformanceLog:
    usual = {
        "task_type": text,
        "final_dissonance": 0.7,
        "turn_count": 4,
        "outcome": "max_turns",
        "settings_digest": SHIPPED.digest(),
        "active_heuristics": LONGEST.heuristics(),
        "origin": text,
        "finished_at": NOW,
    }
    return PerformanceLog.model_validate({"task_id": task_id, **usual, **more})
