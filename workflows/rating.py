"""What a person thinks of an answer, and where that is kept: on the task, in its log, in its row. Pure."""

from messages.common import excerpt
from messages.requests import RateTask
from messages.tasks import TaskView
from workflows.bounded import keep_newest
from workflows.image_state import FINISHED_BYTES, MOST_FINISHED, ImageState


def why_not(state: ImageState, request: RateTask) -> str:
    """Why an answer cannot be rated, or nothing."""
    task_id = request.task_id
    if task_id is None or request.rating is None:
        return 'say which answer, and 0 (bad) to 1 (good): {"task_id": "...", "rating": 0.8}'
    view = next((view for view in state.task_views() if view.task_id == task_id), None)
    if view is None:
        return f"no task {task_id} is among the latest {MOST_FINISHED}"
    if view.phase != "finished":
        return f"task {task_id} has not finished; rate it when it has"
    return f"task {task_id} failed: it has no answer to rate" if view.outcome == "failed" else ""


def rate(state: ImageState, request: RateTask) -> None:
    """Keep an opinion, instead of an earlier one, of an answer that can be rated."""
    assert request.rating is not None
    view = next(view for view in state.finished if view.task_id == request.task_id)
    if view.row:
        state.observing.rate(view.row, request.rating, view.rating)
    _count_as_guardrail(state, view, request.rating)
    view.rating, view.rated_by = request.rating, request.rated_by
    view.rating_comment = excerpt(request.comment, 160)
    state.finished = keep_newest(state.finished, MOST_FINISHED, FINISHED_BYTES)
    for log in state.window:
        if log.task_id == request.task_id:
            log.rating = request.rating


def _count_as_guardrail(state: ImageState, view: TaskView, rating: float) -> None:
    """An opinion counts in the verification under way: of a block the first alone."""
    current = state.verifying.open
    if current is None or view.block is None or view.arm is None or view.block < current.first_block:
        return
    other = (each for each in state.finished if each.block == view.block and each is not view)
    if all(each.rating is None for each in other):
        current.rate(view.arm, rating, view.rating)
