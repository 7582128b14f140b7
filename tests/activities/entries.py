"""What a memory is given to keep."""

from typing import Any

TREES = "Should a town plant trees or build shade roofs?"


def entry(task_id: str = "trees", task: str = TREES, **changes: Any) -> dict[str, Any]:
    return {
        "image_id": "image",
        "task_id": task_id,
        "task": task,
        "synthesis": "Plant them along the streets.",
        "finished_at": "2026-01-01T12:00:00.000000+00:00",
    } | changes
