"""The names that several rooms agree on, and programs outside. Living images are found by them: they stay."""

from typing import Any

from temporalio.common import SearchAttributeKey

NEEDS_HUMAN = SearchAttributeKey.for_bool("NeedsHuman")
IMAGE_PHASE = SearchAttributeKey.for_keyword("ImagePhase")
SETTINGS_REVISION = SearchAttributeKey.for_int("SettingsRevision")
SEARCH_ATTRIBUTES: tuple[SearchAttributeKey[Any], ...] = (NEEDS_HUMAN, IMAGE_PHASE, SETTINGS_REVISION)
INBOX_QUERY = f"{NEEDS_HUMAN.name}%3Dtrue"
"""What the Web UI lists as waiting for a person, as it stands in an address."""

TASK_COMPLETED = "task_completed"
LOOP_WAITS = "loop_waits"
LOOP_CONCLUDED = "loop_concluded"
INQUIRY_CONCLUDED = "inquiry_concluded"
"""Signals that an image's children send it."""

HOLD = "hold"
"""The signal by which an image holds the trials of its loops back, or lets them go on."""

REVERSAL = "reversal"
"""The source of a proposal to take back what has not helped."""

TRIAL = "trial"
"""The origin of tasks that are argued once more; they tell their image nothing."""

NOT_IN_TIME = "NotInTime"
"""The type of an update's failure where no worker has done what it takes in time; others are a no."""

ASK_AGAIN = "This came together with news that the workflow has not taken yet. Ask again"
"""What a query is told that must not be answered now."""


def task_workflow_id(image_id: str, task_id: str) -> str:
    """The workflow id of a task's dialogue; with nothing as task, what all of them begin with."""
    return f"{image_id}/task/{task_id}"


def dialogues_of(image_id: str) -> str:
    """The list query for all dialogues of an image's tasks; trials have other ids."""
    begins = task_workflow_id(image_id, "").replace("\\", "\\\\").replace("'", "\\'")
    return f"WorkflowType = 'Dialogue' AND WorkflowId STARTS_WITH '{begins}'"


def task_of(workflow_id: str) -> tuple[str, str]:
    """The image and the task of a dialogue's workflow id."""
    image_id, _, task_id = workflow_id.rpartition("/task/")
    return image_id, task_id


def image_of(workflow_id: str) -> str:
    """The image that a workflow is or belongs to. No image's name has a slash."""
    return workflow_id.partition("/")[0]


def ids_of(workflow_id: str) -> dict[str, str]:
    """Which image a workflow is or belongs to, and which task, loop or inquiry of it it is, if any."""
    for kind in ("task", "loop", "inquiry"):
        image_id, found, rest = workflow_id.partition(f"/{kind}/")
        if found:
            return {"image": image_id, kind: rest}
    return {"image": workflow_id}


def loop_workflow_id(image_id: str, number: int | str) -> str:
    return f"{image_id}/loop/{number}"


def trial_workflow_id(loop_id: str, round_number: int, arm: int, task: int) -> str:
    """The workflow id of one replay: the n-th task of a round under its n-th candidate."""
    return f"{loop_id}/trial/{round_number}-{arm}-{task}"


def inquiry_workflow_id(image_id: str, number: int) -> str:
    return f"{image_id}/inquiry/{number}"


def files_queue(task_queue: str) -> str:
    """The task queue of the worker beside the settings file."""
    return f"{task_queue}-files"
