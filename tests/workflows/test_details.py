"""What the Web UI shows of each workflow: readable, whole, and never the work of a hostile text."""

import re
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.common import LoopState
from messages.goals import Goal
from messages.image import Amendment
from messages.loops import Change
from messages.memory import Recollection
from messages.requests import Decision
from messages.tasks import Dissonance, TaskView, Transcript, Turn
from messages.trials import Moments
from messages.verification import PINNED, Verified
from optimizer.verdict import Watch
from tests.web_ui.hostile import HOSTILE
from tests.workflows.image_states import NOW, a_state
from tests.workflows.pages import (
    DIFF,
    LOOKS,
    Shown,
    assert_ours_alone,
    harmful,
    hostile_pages,
    hostile_proposal,
    hostile_transcript,
    proposal,
    verification,
)
from workflows.details.dialogue import dialogue_details
from workflows.details.image import image_details
from workflows.details.inquiry import inquiry_details
from workflows.details.loop import loop_details
from workflows.details.text import SUMMARY_BYTES, summary

QUICK_BYTES = 20_000
FILLERS = [
    "<",
    "a",
    " a",
    "\n",
    "a\n",
    "{",
    "`",
    "é",
    "😀",
    "\u202e",
    "\u0301",
    "\r\n",
    "-",
    "+\n",
    "word ",
    "/",
]


# --- the loop ---------------------------------------------------------------------------------------


def test_a_pending_proposal_shows_the_change_the_reasons_and_what_to_click() -> None:
    shown = Shown(loop_details(proposal()))
    for part in (
        "image/loop/1: a proposal waits for a person",
        "Approve or reject it by 2026-01-01 12:00 UTC",
        "autopoiesis.max_turns from 2 to 3",
        "4 of 4 arguments ran out of turns.",
        "They get one more.",
        "Proposed by rule: turn budget",
        "More Actions > Send an Update",
        "Request Cancellation decides nothing",
    ):
        assert part in shown.text
    assert re.search(r"arguments\s+4\s+mean final dissonance\s+none", shown.text)


def test_the_diff_is_shown_exactly_with_only_its_changed_lines_coloured() -> None:
    page = loop_details(proposal())
    assert Shown(page).blocks[0] == DIFF
    coloured = [
        (colour, Shown(text).text) for colour, text in re.findall(r'<font color="(.*?)">(.*?)<', page)
    ]
    assert coloured == [("#c62828", "-max_turns = 2"), ("#2e7d32", "+max_turns = 3")]


def test_the_data_to_send_lacks_only_the_name_of_the_person() -> None:
    decision = Decision.model_validate_json(Shown(loop_details(proposal())).blocks[-1])
    assert decision == Decision(verdict="approve", approver="", proposal_digest="0123456789ab")


@pytest.mark.parametrize("state", get_args(LoopState))
def test_a_loop_that_has_ended_says_how_by_whom_and_why_and_asks_for_nothing(state: LoopState) -> None:
    ended = proposal(state=state, decided_by="Ada", comment="So be it.", reason="Because of this.")
    text = Shown(loop_details(ended)).text
    assert ("nothing to propose" if state == "no_proposal" else state) in text
    assert "Decided by Ada. So be it." in text
    assert "Because of this." in text
    assert "More Actions" not in text


def test_a_loop_that_proposes_nothing_says_what_it_could_not_look_at_and_what_that_cost() -> None:
    missing = ["the trials ended early", "nobody compared the answers"]
    ended = proposal(state="no_proposal", changes=[], not_evaluated=missing, trial_tokens=8_100)
    text = Shown(loop_details(ended)).text
    assert "the trials ended early; nobody compared the answers" in text
    assert "8100 tokens" in text


def test_an_approval_with_the_persons_own_value_shows_that_value() -> None:
    approved = proposal(state="approved", changes=[Change(key="autopoiesis.max_turns", old=2, new=4)])
    text = Shown(loop_details(approved)).text
    assert "The changeautopoiesis.max_turns from 2 to 4" in text
    assert "In settings.toml, as proposed" in text


def test_a_flood_of_text_is_cut_with_a_word_about_it_and_the_rest_of_the_proposal_stays() -> None:
    text = Shown(loop_details(proposal(justification="word " * 20_000))).text
    why, _, rest = text.partition("… cut here; a query shows all of it")
    assert why.rstrip().endswith("word word")
    for part in ("They get one more.", "arguments", "Proposed by rule: turn budget", '"proposal_digest"'):
        assert part in rest


# --- the image and the dialogue ---------------------------------------------------------------------


def test_the_image_shows_what_it_does_and_links_to_what_waits() -> None:
    state = a_state()
    loop_id = state.open_loop(NOW)
    state.ledger.settings_problem = "[autopoiesis] max_turns = 99: must be less than or equal to 10"
    state.put_aside("task_completed", "no task x runs here", {"task_id": "x"}, NOW)
    change = Change(key="autopoiesis.max_turns", old=2, new=3)
    state.ledger.amendments.append(
        Amendment(
            revision=2,
            loop_id="image/loop/0",
            source="rule",
            changes=[change],
            state="approved",
            decided_by="Ada",
            decided_at=NOW,
        )
    )
    shown = Shown(image_details(state))
    encoded = loop_id.replace("/", "%2F")
    assert shown.links == [
        f"/namespaces/{{namespace}}/workflows/{encoded}",
        "/namespaces/{namespace}/workflows?query=NeedsHuman%3Dtrue",
        "/namespaces/{namespace}/workflows/image%2Floop%2F0",
    ]
    for part in (
        f"Living image {state.image_id}",
        f"revision 1, digest {state.ledger.digest}",
        "max_turns = 99: must be less than or equal to 10",
        "Revision 2, 2026-01-01 12:00 UTC, image/loop/0: approved by Ada (autopoiesis.max_turns from 2 to 3)",
        "task_completed: {'task_id': 'x'} (no task x runs here)",
        '{"task": "your question"}',
    ):
        assert part in shown.text


def test_the_dialogue_shows_its_task_the_distance_of_each_turn_and_the_synthesis() -> None:
    turns = [
        Turn(turn=1, thesis="T1", antithesis="A1", dissonance=Dissonance(missing="AnswerEmpty: nothing")),
        Turn(
            turn=2, thesis="T2", antithesis="A2", dissonance=Dissonance(label="partly_different", value=0.3)
        ),
    ]
    transcript = Transcript(
        task_id="x", task="Why?", plan="P", research="R", turns=turns, synthesis="So.", speaking="ROBIN"
    )
    text = Shown(dialogue_details(transcript)).text
    assert re.search(r"1\s+none given AnswerEmpty: nothing\s+none\s+2\s+partly different\s+0\.3", text)
    for part in ("Task x", "Why?", "Now: ROBIN", "T2", "A2", "So."):
        assert part in text


def test_the_dialogue_shows_what_was_recalled_and_by_which_means() -> None:
    item = Recollection(task_id="old", task="Why trees?", synthesis="Shade.", score=0.42)
    transcript = Transcript(task_id="x", task="Why?", recalled=[item], recalled_by="embeddings m")
    text = Shown(dialogue_details(transcript)).text
    assert "What BABS recalledWhy trees? 0.42By embeddings m." in text
    nothing = Transcript(task_id="x", task="Why?", recalled_by="shared words (no m)")
    assert "nothing that bears on this taskBy shared words (no m)." in Shown(dialogue_details(nothing)).text


def test_an_inquiry_shows_every_goal_with_its_score_and_what_came_of_it() -> None:
    goals = [Goal(persona="BABS", goal="Are trams slow?", why="Nobody asked.", score=0.65)]
    text = Shown(inquiry_details("nothing happened", goals, "BABS's goal was taken: Are trams slow?")).text
    for part in ("Because nothing happened.", "Are trams slow?", "Nobody asked.", "0.65", "goal was taken"):
        assert part in text
    assert "What came of it" not in Shown(inquiry_details("nothing happened", goals)).text


def test_a_failed_dialogue_shows_why() -> None:
    transcript = Transcript(task_id="x", task="Why?", failure="ModelNotPulled: there is no model m")
    assert "Failed: ModelNotPulled: there is no model m" in Shown(dialogue_details(transcript)).text


# --- whether a change helped ------------------------------------------------------------------------


def test_what_is_being_verified_shows_its_looks_and_what_to_send() -> None:
    state = a_state()
    assert "Does the latest change help?" not in Shown(image_details(state)).text
    watch = Watch(cap=40, differences=Moments(n=12, mean=0.05, m2=0.1), looks=LOOKS[:1])
    state.verifying.current = verification(watch=watch)
    shown = Shown(image_details(state))
    for part in (
        "Does the latest change help?image/loop/1, revision 2, since 2026-01-01 12:00 UTC",
        "autopoiesis.max_turns from 2 to 3",
        "12 blocks of two tasks, gain +0.050",
        'end_verification with {"action": "accept", "approver": "your name"}',
        "verify_settings verifies your latest edit",
    ):
        assert part in shown.text
    assert re.search(r"10\s+-0\.123\s+-0\.234 to -0\.012\s+0\.01\s+0\.99\s+0\.00026", shown.text)
    assert re.search(r"40\s+to come\s+0\.04154", shown.text)
    assert PINNED not in shown.text


def test_tasks_under_other_values_than_the_file_has_are_told_first_of_all() -> None:
    state = a_state()
    state.verifying.current = harmful(reversal="image/loop/2")
    shown = Shown(image_details(state))
    assert shown.text.index(f"{PINNED}: image/loop/1 does harm") < shown.text.index("phase")
    assert "/namespaces/{namespace}/workflows/image%2Floop%2F2" in shown.links
    assert '"action"' not in shown.text
    state.verifying.current.settle("Ada")
    text = Shown(image_details(state)).text
    assert PINNED not in text
    assert "harmful: it does harm" in text and "ended by Ada" in text


def test_the_latest_amendments_tell_their_verdicts() -> None:
    state = a_state()
    verified = Verified(verdict="improved", blocks=10, gain=0.12, low=0.08, high=0.16)
    change = Change(key="autopoiesis.max_turns", old=2, new=3)
    state.ledger.amendments.append(
        Amendment(revision=2, changes=[change], state="approved", decided_at=NOW, verified=verified)
    )
    text = Shown(image_details(state)).text
    assert "improved: 10 blocks of two tasks, gain +0.120 (90%: +0.080 to +0.160)" in text


@pytest.mark.parametrize("state", ["pending", "rewriting", "approved", "expired"])
def test_harm_is_urgent_in_the_title_until_the_loop_has_ended(state: str) -> None:
    text = Shown(loop_details(proposal(state=state, urgent=True))).text
    told = text.lstrip().startswith("URGENT: a change does harm. image/loop/1")
    assert told == (state in ("pending", "rewriting"))


# --- text of others ---------------------------------------------------------------------------------


def test_hostile_text_is_shown_as_the_text_it_is() -> None:
    for page in hostile_pages(HOSTILE):
        assert_ours_alone(page)
    for page in (loop_details(hostile_proposal(HOSTILE)), dialogue_details(hostile_transcript(HOSTILE))):
        assert HOSTILE in Shown(page).text


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=400))
def test_no_text_adds_a_tag_a_link_or_a_placeholder(text: str) -> None:
    for page in hostile_pages(text):
        assert_ours_alone(page)
    assert not set(summary(text)) & set("<>{}[]$`\\|*_#~\n")


@pytest.mark.parametrize("text", ["\u202egnp.exe", "\u2066x", "\u200bx", "\u2028x", "\x1b[0m", "\U000e0041x"])
def test_what_reorders_or_hides_text_is_shown_as_a_sign(text: str) -> None:
    for page in [*hostile_pages(text), summary(text)]:
        assert text[0] not in page
    assert "�" + text[1:] in Shown(loop_details(proposal(justification=text))).text


def test_marks_cannot_be_piled_up_over_the_lines_above() -> None:
    text = Shown(loop_details(proposal(justification="a" + "\u0301" * 50))).text
    assert "a\u0301\u0301�" in text
    assert "\u0301" * 3 not in text


@pytest.mark.parametrize("filler", FILLERS, ids=ascii)
def test_every_page_stays_quick_however_much_others_write(filler: str) -> None:
    for page in hostile_pages(filler * (100_000 // len(filler))):
        assert len(page.encode()) < QUICK_BYTES
        assert_ours_alone(page)


@pytest.mark.parametrize("text", ["word " * 100, "😀" * 500, "é" * 101, "short", ""])
def test_a_summary_is_an_excerpt_that_the_web_ui_has_room_for(text: str) -> None:
    short = summary(text)
    assert len(short.encode()) <= SUMMARY_BYTES
    assert short == text or short.endswith("…")


def test_an_image_shows_what_people_think_of_its_latest_answers() -> None:
    task = TaskView(task_id="one", task="Why?", phase="finished", outcome="converged", submitted_at=NOW)
    opinion = {"rating": 0.25, "rated_by": "Ada", "rating_comment": "too <short>"}
    state = a_state()
    state.finished = [task, task.model_copy(update=opinion)]
    shown = Shown(image_details(state)).text
    assert "converged, rated 0.25 by Ada: too <short>" in shown
    assert shown.count(", rated ") == 1
