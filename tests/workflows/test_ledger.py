"""However a loop ends, the ledger, the revision, the settings and the logs agree."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from configuration import Value
from messages.common import LoopState
from messages.files import SettingsFile
from messages.image import Means
from messages.loops import Change, LoopConcluded
from tests.workflows.image_states import NOW, SHIPPED, TEMPERATURE, THRESHOLD, TURNS, a_log, a_state
from workflows.image_state import ImageState
from workflows.image_status import status_of


@pytest.fixture
def state() -> ImageState:
    return a_state()


def on_file(changes: dict[str, Value] | None = None) -> SettingsFile:
    settings = SHIPPED.with_changes(changes or {})
    return SettingsFile(settings=settings, digest=settings.digest(), owner="Ada")


def conclude(
    state: ImageState, how: LoopState, file: SettingsFile | None = None, task_ids: list[str] | None = None
) -> None:
    """End the open loop, or a new one; it wanted one turn more."""
    loop_id = state.open_loops[0] if state.open_loops else state.open_loop(NOW)
    conclusion = LoopConcluded(
        loop_id=loop_id,
        state=how,
        source="rule: turn budget",
        changes=[Change(key=TURNS, old=4, new=5)],
        decided_by="Grace",
        decided_at=NOW,
        task_ids=task_ids or [],
    )
    state.conclude(conclusion, file)


def assert_the_ledger_explains_the_settings(state: ImageState) -> None:
    """The first settings, changed by every entry that made a new revision, are the present ones."""
    settings, revision = SHIPPED, 1
    for entry in state.ledger.amendments:
        if entry.revision > revision:
            assert entry.state in ("approved", "adopted")
            settings = settings.with_changes({change.key: change.new for change in entry.changes})
            revision += 1
        assert entry.revision == revision
    assert settings == state.settings
    assert revision == state.ledger.revision


def entries(state: ImageState) -> list[tuple[str, str]]:
    return [(entry.state, entry.decided_by) for entry in state.ledger.amendments]


# --- settings ---


def test_an_approved_change_is_adopted_and_on_the_ledger(state: ImageState) -> None:
    conclude(state, "approved", on_file({TURNS: 5}))
    assert entries(state) == [("approved", "Grace")]
    assert (state.settings.autopoiesis.max_turns, state.ledger.revision) == (5, 2)
    assert_the_ledger_explains_the_settings(state)
    assert state.open_loops == []


def test_what_an_approval_wrote_is_not_taken_for_a_persons_edit(state: ImageState) -> None:
    conclude(state, "approved", on_file({TURNS: 5}))
    before = state.ledger.settings_view()
    assert not state.ledger.adopt_edit(on_file({TURNS: 5}).settings, "Ada", NOW)
    assert state.ledger.settings_view() == before


EDITED_AFTER_THE_REWRITE: dict[str, dict[str, Value]] = {
    "another key": {TURNS: 5, THRESHOLD: 0.6},
    "the same key": {TURNS: 7},
    "the same key back to what it was": {},
    "the same key back, and another": {THRESHOLD: 0.6},
}
edited_after_the_rewrite = pytest.mark.parametrize(
    "edited", EDITED_AFTER_THE_REWRITE.values(), ids=EDITED_AFTER_THE_REWRITE.keys()
)


@edited_after_the_rewrite
def test_an_edit_between_a_rewrite_and_its_news_holds(state: ImageState, edited: dict[str, Value]) -> None:
    conclude(state, "approved", on_file(edited))
    assert entries(state)[0] == ("approved", "Grace")
    assert state.settings == on_file(edited).settings
    assert_the_ledger_explains_the_settings(state)


@edited_after_the_rewrite
def test_an_edit_adopted_before_the_news_of_a_rewrite_holds(
    state: ImageState, edited: dict[str, Value]
) -> None:
    state.ledger.adopt_edit(on_file(edited).settings, "Ada", NOW)
    conclude(state, "approved", on_file(edited))
    assert entries(state)[-1] == ("approved", "Grace")
    assert state.settings == on_file(edited).settings
    assert_the_ledger_explains_the_settings(state)


def test_a_persons_edit_that_is_first_seen_after_a_rewrite_is_that_persons_amendment(
    state: ImageState,
) -> None:
    conclude(state, "approved", on_file({TURNS: 5, TEMPERATURE: 0.8}))
    assert entries(state) == [("approved", "Grace"), ("adopted", "Ada")]
    assert [[change.key for change in entry.changes] for entry in state.ledger.amendments] == [
        [TURNS],
        [TEMPERATURE],
    ]
    assert_the_ledger_explains_the_settings(state)


def test_an_approval_whose_file_cannot_be_read_at_once_holds_as_soon_as_it_can(state: ImageState) -> None:
    conclude(state, "approved", None)
    state.ledger.adopt_edit(on_file({TURNS: 5}).settings, "Ada", NOW)
    assert entries(state)[0] == ("approved", "Grace")
    assert state.settings.autopoiesis.max_turns == 5
    assert_the_ledger_explains_the_settings(state)


def test_a_stale_proposal_changes_nothing_but_brings_the_edit_that_made_it_stale(state: ImageState) -> None:
    conclude(state, "stale", on_file({TURNS: 8}))
    assert entries(state) == [("stale", "Grace"), ("adopted", "Ada")]
    assert state.settings.autopoiesis.max_turns == 8
    assert_the_ledger_explains_the_settings(state)


@pytest.mark.parametrize("how", ["rejected", "expired", "no_proposal", "failed"])
def test_a_loop_that_changed_nothing_is_on_the_ledger_and_leaves_the_settings(
    state: ImageState, how: LoopState
) -> None:
    before = state.ledger.settings_view()
    conclude(state, how)
    assert entries(state) == [(how, "Grace")]
    assert state.ledger.settings_view() == before
    assert_the_ledger_explains_the_settings(state)


# --- logs ---


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ("approved", ["later"]),
        ("rejected", ["later"]),
        ("expired", ["later"]),
        ("stale", ["judged", "later"]),
        ("no_proposal", ["judged", "later"]),
        ("failed", ["judged", "later"]),
    ],
)
def test_only_a_judged_proposal_uses_up_logs_and_only_those_it_judged(
    state: ImageState, how: LoopState, left: list[str]
) -> None:
    state.record_log(a_log("judged"))
    state.open_loop(NOW)
    state.record_log(a_log("later"))
    conclude(state, how, task_ids=["judged"])
    assert [log.task_id for log in state.window] == left


def test_a_log_that_comes_again_after_its_proposal_was_judged_stays_out(state: ImageState) -> None:
    state.record_log(a_log("one"))
    conclude(state, "rejected", task_ids=["one"])
    assert not state.record_log(a_log("one"))
    assert state.window == []


# --- when to look ---


def test_there_is_nothing_to_wait_for_before_there_are_enough_logs(state: ImageState) -> None:
    for number in range(3):
        state.record_log(a_log(f"t{number}"))
        assert state.next_look() is None
    state.record_log(a_log("t3"))
    assert state.next_look() == state.started_at


def test_after_a_look_there_is_none_before_check_every_and_a_new_log(state: ImageState) -> None:
    for number in range(4):
        state.record_log(a_log(f"t{number}"))
    state.open_loop(NOW)
    assert state.next_look() is None, "one loop at a time"
    conclude(state, "no_proposal")
    assert state.next_look() is None, "the same logs again would give the same answer"
    state.record_log(a_log("new"))
    assert state.next_look() == NOW + timedelta(minutes=15)


@pytest.mark.parametrize("phase", ["paused", "retiring", "retired"])
def test_an_image_that_is_not_active_does_not_look(state: ImageState, phase: str) -> None:
    for number in range(4):
        state.record_log(a_log(f"t{number}"))
    assert state.model_copy(update={"phase": phase}).next_look() is None


# --- what a stranger may claim ---


def test_a_forged_approval_changes_no_settings(state: ImageState) -> None:
    for changes in (
        [Change(key=TURNS, old=4, new=9)],
        [Change(key=TURNS, old=4, new=4000)],
        [Change(key="no.such", old=1, new=2)],
        [Change(key="governance.approval_timeout", old="7d", new="1ms")],
    ):
        forged = LoopConcluded(
            loop_id=state.open_loop(NOW), state="approved", changes=changes, decided_at=NOW
        )
        state.conclude(forged, on_file())
        assert state.settings == SHIPPED
    assert_the_ledger_explains_the_settings(state)


def test_a_conclusion_too_large_for_the_ledger_is_refused() -> None:
    huge = [Change(key=TURNS, old="x" * 5000, new="y" * 5000)]
    with pytest.raises(ValidationError, match="a conclusion is at most"):
        LoopConcluded(loop_id="loop", state="approved", changes=huge, decided_at=NOW)


# --- looking back ---


def three_revisions(state: ImageState) -> None:
    conclude(state, "approved", on_file({TURNS: 5}))
    conclude(state, "no_proposal")
    state.ledger.adopt_edit(on_file({TURNS: 5, THRESHOLD: 0.6}).settings, "Ada", NOW)
    # Approved by a signal that anybody sent: the file does not say so, and nothing was changed.
    conclude(state, "approved", on_file({TURNS: 5, THRESHOLD: 0.6}))


def test_the_settings_of_every_revision_on_the_ledger_can_be_had_again(state: ImageState) -> None:
    three_revisions(state)
    assert state.ledger.revision == 3
    assert state.ledger.settings_at(2) == SHIPPED.with_changes({TURNS: 5})
    assert state.ledger.settings_at(1) == SHIPPED


def test_a_revision_that_has_left_the_ledger_cannot_be_had_again(state: ImageState) -> None:
    three_revisions(state)
    del state.ledger.amendments[0]
    assert state.ledger.settings_at(1) is None
    assert state.ledger.settings_at(2) == SHIPPED.with_changes({TURNS: 5})


def test_each_amendment_knows_how_arguments_went_before_and_after_it(state: ImageState) -> None:
    for number, tokens in enumerate((100, 300)):
        state.record_log(a_log(f"before-{number}").model_copy(update={"tokens_in": tokens}))
    conclude(state, "approved", on_file({TURNS: 5}))
    after = {"settings_digest": state.ledger.digest, "turn_count": 2, "final_dissonance": 0.3}
    state.record_log(a_log("after").model_copy(update=after))
    failed = {"settings_digest": state.ledger.digest, "outcome": "failed", "final_dissonance": None}
    state.record_log(a_log("failed").model_copy(update=failed))
    [entry] = state.ledger.history()
    assert entry.before == Means(arguments=2, dissonance=0.7, turns=4, tokens=200)
    assert entry.after == Means(arguments=2, failed=1, dissonance=0.3, turns=2, tokens=0)
    assert status_of(state).figures == entry.after


def test_the_figures_outlive_the_window_of_logs(state: ImageState) -> None:
    for number in range(300):
        state.record_log(a_log(f"log-{number}"))
    conclude(state, "approved", on_file({TURNS: 5}))
    assert state.ledger.history()[0].before.arguments == 300
