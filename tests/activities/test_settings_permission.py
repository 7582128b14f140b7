"""Where approvers are named, a files worker writes only what enough of them have signed."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.settings import SettingsFiles
from configuration.reading import load_settings
from messages.files import Approval, Rewrite
from messages.loops import Change, ProposalView
from messages.requests import Decision
from testbed.signing import Signer
from tests.activities.settings_files import LOOP, TURNS, backups, edit, everything, put_down

ADA, BOB, STRANGER = Signer("Ada"), Signer("Bob"), Signer("Mallory")
PROPOSED = [Change(key=TURNS, old=4, new=3)]
APPROVAL = Approval(settings_digest="0123456789ab", proposed=PROPOSED, shown="f" * 64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file on which Ada and Bob decide together."""
    path = put_down(tmp_path)
    edit(path, "approvers = []", f"approvers = {json.dumps([ADA.line, BOB.line])}")
    edit(path, "quorum = 1", "quorum = 2")
    return path


def signed(*people: Signer, own: dict[str, Any] | None = None, **how: Any) -> Rewrite:
    """The order of a loop, for an approval that people have signed."""
    view = ProposalView(loop_id=LOOP, state="rewriting", digest=APPROVAL.digest(LOOP))
    decisions = [Decision.model_validate(person.decision(view, changes=own, **how)) for person in people]
    signatures = [each.signature for each in decisions if each.signature]
    changes = [each.model_copy(update={"new": (own or {}).get(each.key, each.new)}) for each in PROPOSED]
    approval = APPROVAL.model_copy(update={"signatures": signatures})
    return Rewrite(loop_id=LOOP, changes=changes, decision=decisions[-1], approval=approval)


def give(path: Path, order: Rewrite) -> None:
    environment = ActivityEnvironment()
    environment.info = replace(ActivityEnvironment.default_info(), workflow_run_id="run")
    # As it comes from the server, and not as the object that it was.
    environment.run(
        SettingsFiles(path).rewrite_settings, Rewrite.model_validate_json(order.model_dump_json())
    )


def refused(path: Path, order: Rewrite) -> ApplicationError:
    """Why an order was refused; nothing was written."""
    before = everything(path.parent)
    with pytest.raises(ApplicationError) as error:
        give(path, order)
    assert everything(path.parent) == before
    return error.value


def turns(path: Path) -> int:
    return load_settings(path).autopoiesis.max_turns


def test_what_enough_approvers_have_signed_is_written(path: Path) -> None:
    give(path, signed(ADA, BOB))
    assert turns(path) == 3


def test_their_own_values_are_written(path: Path) -> None:
    give(path, signed(BOB, ADA, own={TURNS: 5}))
    assert turns(path) == 5


def without_signatures(order: Rewrite) -> None:
    assert order.approval is not None
    order.approval.signatures = []


def by_nobody(order: Rewrite) -> None:
    order.decision, order.approval = Decision(verdict="approve", approver="Ada"), None


def other_changes(order: Rewrite) -> None:
    order.changes = [Change(key=TURNS, old=4, new=6)]


def other_changes_as_if_proposed(order: Rewrite) -> None:
    assert order.approval is not None
    order.changes = order.approval.proposed = [Change(key=TURNS, old=4, new=6)]


def other_values_of_their_own(order: Rewrite) -> None:
    assert order.decision is not None
    order.changes, order.decision.changes = [Change(key=TURNS, old=4, new=6)], {TURNS: 6}


def another_loop(order: Rewrite) -> None:
    order.loop_id = "living-image/loop/4"


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (without_signatures, "it is not signed"),
        (by_nobody, "it is not signed"),
        (other_changes, "what it changes is not what was approved"),
        (other_changes_as_if_proposed, "is not over this"),
        (other_values_of_their_own, "is not over this"),
        (another_loop, "is not over this"),
    ],
)
def test_an_order_that_was_not_signed_as_it_is_writes_nothing(
    path: Path, forge: Callable[[Rewrite], None], told: str
) -> None:
    order = signed(ADA, BOB)
    forge(order)
    error = refused(path, order)
    assert (error.type, error.non_retryable) == ("InvalidSettings", True)
    assert f"{order.loop_id} was refused: it takes a signature of 2 of Ada, Bob, and " in error.message
    assert told in error.message


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (signed(ADA), "1 of 2 have signed it"),
        (signed(ADA, ADA), "1 of 2 have signed it"),
        (signed(STRANGER), "the key of a stranger, Mallory"),
        (signed(STRANGER, ADA), "1 of 2 have signed it"),
        (signed(ADA, BOB, valid=timedelta(days=-8)), "is too old by now"),
        (signed(ADA, BOB, signed_as={"verdict": "reject"}), "is not over this"),
        (signed(ADA, BOB, signed_as={"image": "another"}), "is not over this"),
    ],
)
def test_too_few_signatures_write_nothing(path: Path, order: Rewrite, told: str) -> None:
    assert told in refused(path, order).message


def test_a_key_that_was_taken_out_meanwhile_does_not_count(path: Path) -> None:
    edit(path, json.dumps(ADA.line), json.dumps(STRANGER.line))
    assert "1 of 2 have signed it" in refused(path, signed(ADA, BOB)).message


def test_an_order_of_a_worker_of_before_waits_for_newer_workers(path: Path) -> None:
    order = signed(ADA, BOB)
    error = refused(path, order.model_copy(update={"approval": None}))
    assert (error.type, error.non_retryable) == ("SettingsNotWritable", False)
    assert "start all workers with the present version, and it is carried out" in error.message
    give(path, order)
    assert turns(path) == 3


def test_a_person_brings_back_only_what_held_before(path: Path) -> None:
    back = [Change(key=TURNS, old=3, new=4)]
    give(path, signed(ADA, BOB))
    for changes in (
        [Change(key=TURNS, old=3, new=5)],
        [*back, Change(key="models.host", old="", new="http://elsewhere")],
    ):
        error = refused(path, Rewrite(loop_id="a revert", changes=changes, by_person=True))
        assert (error.type, error.non_retryable) == ("InvalidSettings", True)
        assert "no backup of it says that these values have held before" in error.message
    newest = max(backups(path))
    unreadable = newest.with_name(newest.name.replace("0001", "0000"))
    unreadable.write_text("[nothing")
    give(path, Rewrite(loop_id="a revert", changes=back, by_person=True))
    assert turns(path) == 4
