"""The names that rooms agree on are those that the workflows answer to."""

from temporalio import workflow

from messages import names
from workflows.living_image import LivingImage


def test_an_image_takes_every_signal_that_its_children_send() -> None:
    taken = workflow._Definition.must_from_class(LivingImage).signals  # no public way to ask
    sent = {names.TASK_COMPLETED, names.LOOP_WAITS, names.LOOP_CONCLUDED, names.INQUIRY_CONCLUDED}
    assert sent <= set(taken)


def test_a_task_is_found_by_the_workflow_id_of_its_dialogue() -> None:
    for image_id, task_id in (("living-image", "a1"), ("odd/task/name", "b2")):
        assert names.task_of(names.task_workflow_id(image_id, task_id)) == (image_id, task_id)
