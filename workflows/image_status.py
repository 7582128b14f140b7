"""How an image is, as people see it."""

from messages.image import ImageStatus
from workflows.image_state import ImageState


def status_of(state: ImageState) -> ImageStatus:
    return ImageStatus(
        image_id=state.image_id,
        phase=state.phase,
        model_backend=state.model_backend,
        queued=len(state.queue),
        running=len(state.running),
        finished=state.finished_count,
        failed=state.failed_count,
        waiting_loops=state.open_loops,
        obstacles=state.obstacles,
        window=len(state.window),
        revision=state.ledger.revision,
        digest=state.ledger.digest,
        conditions=state.ledger.conditions,
        figures=state.ledger.figures(state.ledger.digest),
        started_at=state.started_at,
        runs=state.runs,
        settings_problem=state.ledger.settings_problem,
        set_aside=state.set_aside,
        next_look_at=state.next_look(),
        next_goal_at=state.next_inquiry(),
        last_inquiry=state.motivation.last,
        active_at=state.keeping.active_at,
        saved_at=state.keeping.saved_at,
        saved_generation=state.keeping.generation,
        snapshot_problem=state.keeping.problem,
        verification=state.verifying.open.standing() if state.verifying.open else "",
    )
