"""The metrics of a living image by their names, which dashboards hold; Temporal's begin with `temporal_`."""

TASKS = "living_image_tasks"
"""Tasks that ended, by image, outcome and origin: counted."""
TURNS = "living_image_turns"
DISSONANCE = "living_image_dissonance"
"""Of each argument at its end, by image and origin: distributions."""
TOKENS = "living_image_tokens"
"""By persona, model and direction (in, out): counted."""
MODEL_SECONDS = "living_image_model_seconds"
MODEL_WAIT_SECONDS = "living_image_model_wait_seconds"
"""What a call took, and how long it waited for a free slot before, by model: distributions."""
VERDICTS = "living_image_verdicts"
"""Changes that were verified, by image and verdict: counted."""
QUEUED = "living_image_queued_tasks"
RUNNING = "living_image_running_tasks"
WAITING = "living_image_waiting_loops"
WAITING_SECONDS = "living_image_oldest_waiting_loop_age_seconds"
SNAPSHOT_SECONDS = "living_image_snapshot_age_seconds"
"""How an image is now: how many tasks and how many loops wait for a person, since when, and its last save."""

BUCKETS = {
    TURNS: [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0],
    DISSONANCE: [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
    MODEL_SECONDS: [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0],
    MODEL_WAIT_SECONDS: [0.0, 0.1, 1.0, 10.0, 30.0, 100.0, 300.0, 1000.0],
}
