"""What a person thinks of an answer, and where that is kept: on the task, in its log, in its row. Pure."""

from messages.common import excerpt
from messages.requests import RateTask
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
    view.rating, view.rated_by = request.rating, request.rated_by
    view.rating_comment = excerpt(request.comment, 160)
    state.finished = keep_newest(state.finished, MOST_FINISHED, FINISHED_BYTES)
    for log in state.window:
        if log.task_id == request.task_id:
            log.rating = request.rating
