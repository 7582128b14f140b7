"""What a person declares to be tuned is adopted, said on the ledger and never undone by a revert."""

from typing import Any

import pytest

from configuration import Settings, Value
from messages.files import SettingsFile
from messages.loops import Change, LoopConcluded
from tests.test_configuration import DEPTH
from tests.workflows.image_states import NOW, SHIPPED, TURNS, a_state
from workflows.image_state import ImageState
from workflows.ledger import NoWayBack

KEY = "custom.depth.value"


@pytest.fixture
def state() -> ImageState:
    return a_state()


def with_own(section: dict[str, Any], of: Settings = SHIPPED) -> Settings:
    return Settings.parse(of.model_dump(mode="json") | {"custom": section})


DECLARED = with_own({"depth": DEPTH})


def adopt(state: ImageState, settings: Settings) -> None:
    assert state.ledger.adopt_edit(settings, "Ada", NOW)


def conclude(state: ImageState, settings: Settings, changes: dict[str, tuple[Value, Value]]) -> None:
    """A loop was approved; the file holds these settings."""
    conclusion = LoopConcluded(
        loop_id=state.open_loop(NOW),
        state="approved",
        source="surrogate",
        changes=[Change(key=key, old=old, new=new) for key, (old, new) in changes.items()],
        decided_by="Grace",
        decided_at=NOW,
    )
    state.conclude(conclusion, SettingsFile(settings=settings, digest=settings.digest(), owner="Ada"))


def test_a_declaration_is_a_revision_that_changes_no_value(state: ImageState) -> None:
    adopt(state, DECLARED)
    [entry] = state.ledger.amendments
    assert (entry.state, entry.revision, entry.changes) == ("adopted", 2, [])
    assert entry.justification == "declares anew what may be tuned: custom.depth"
    assert state.ledger.settings_view().values[KEY] == 3


def test_an_approved_value_of_a_persons_own_is_adopted(state: ImageState) -> None:
    adopt(state, DECLARED)
    conclude(state, DECLARED.with_changes({KEY: 5}), {KEY: (3, 5)})
    assert [(entry.state, entry.revision) for entry in state.ledger.amendments][1:] == [("approved", 3)]
    assert state.settings == DECLARED.with_changes({KEY: 5})


def test_an_approval_of_what_may_not_be_tuned_changes_nothing_of_it(state: ImageState) -> None:
    wanted: dict[str, Value] = {KEY: 5, "models.robin": "gemma3:4b", "optimizer.risk": 1.0}
    for key, new in wanted.items():
        conclude(state, SHIPPED, {key: (0, new)})
    assert state.settings == SHIPPED


def test_an_approval_that_holds_only_with_an_edit_beside_it_is_adopted_with_that_edit(
    state: ImageState,
) -> None:
    adopt(state, DECLARED)
    wider = with_own({"depth": DEPTH | {"high": 20, "value": 11}})
    conclude(state, wider, {KEY: (3, 11)})
    assert state.settings == wider
    assert [entry.decided_by for entry in state.ledger.amendments] == ["Ada", "Grace", "Ada"]
    assert state.ledger.amendments[-1].changes == [Change(key=KEY, old=3, new=11)]


def test_a_way_back_sets_values_and_leaves_what_was_declared(state: ImageState) -> None:
    adopt(state, DECLARED)
    adopt(state, DECLARED.with_changes({KEY: 5, TURNS: 6}))
    assert state.ledger.changes_back_to(1) == [
        Change(key=TURNS, old=6, new=4),
        Change(key=KEY, old=5, new=3),
    ]
    adopt(state, SHIPPED.with_changes({TURNS: 6}))
    assert state.ledger.amendments[-1].justification == "declares anew what may be tuned: custom.depth"
    assert state.ledger.changes_back_to(2) == [Change(key=TURNS, old=6, new=4)]


def test_a_way_back_to_a_value_that_is_not_allowed_any_more_is_refused_with_the_reason(
    state: ImageState,
) -> None:
    adopt(state, DECLARED)
    adopt(state, with_own({"depth": DEPTH | {"low": 5, "value": 7}}))
    with pytest.raises(NoWayBack, match="value = 3 must be a number from 5 to 9"):
        state.ledger.changes_back_to(2)
