"""The page of an inquiry."""

from messages.goals import Goal
from workflows.details.parts import page, section, table, told, value_text
from workflows.details.text import line, prose


def inquiry_details(reason: str, goals: list[Goal], came_to: str = "") -> str:
    """What the personas would like to take on, what the others think of it, and which of it was taken."""
    rows = [(line(goal.goal), line(goal.why), goal.persona, value_text(goal.score)) for goal in goals]
    return page(
        "The personas look for a goal",
        prose(f"Because {reason}."),
        section("Goals", table(rows, ("goal", "why", "of", "score"))) if rows else "",
        told("What came of it", came_to),
    )
