"""What a living image answers when it is asked. A query changes nothing."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from messages.image import Amendment, HistoryEntry, ImageStatus, SettingsView
    from messages.tasks import PerformanceLog, TaskView
    from messages.trials import Observation
    from messages.verification import VerificationView
    from workflows.image_state import ImageState
    from workflows.image_status import status_of


class ImageQueries:
    """The queries of `LivingImage`, which has the state."""

    _state: ImageState

    @workflow.query(description="How the image is")
    def status(self) -> ImageStatus:
        return status_of(self._state)

    @workflow.query(description="The adopted settings")
    def settings(self) -> SettingsView:
        return self._state.ledger.settings_view()

    @workflow.query(description="The present window of performance logs")
    def performance_logs(self) -> list[PerformanceLog]:
        return self._state.window

    @workflow.query(description="The recent tasks: finished, running, queued")
    def tasks(self) -> list[TaskView]:
        return self._state.task_views()

    @workflow.query(description="Every outcome of every loop and every person's edit, oldest first")
    def amendments(self) -> list[Amendment]:
        return self._state.ledger.amendments

    @workflow.query(description="The amendments, each with how arguments went before and after it")
    def history(self) -> list[HistoryEntry]:
        return self._state.ledger.history()

    @workflow.query(description="How arguments went, by settings, conditions and batch")
    def observations(self) -> list[Observation]:
        return self._state.observing.table()

    @workflow.query(description="Whether the latest change helps: how its verification stands")
    def verification(self) -> VerificationView | None:
        return self._state.verifying.view()

    @workflow.query(description="Everything the image remembers")
    def state(self) -> ImageState:
        return self._state
