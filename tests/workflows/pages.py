"""The pages of workflows as a browser shows them, with whatever others may have written on them."""

from html.parser import HTMLParser
from typing import Any, get_args

from messages.common import LoopState
from messages.goals import Goal
from messages.image import Amendment, SetAside
from messages.loops import Change, ProposalView
from messages.memory import Recollection
from messages.signatures import Signatures, Signed, Unheeded
from messages.tasks import Dissonance, TaskView, Transcript, Turn
from messages.trials import Effect, Moments
from messages.verification import Look, Verified
from optimizer.verdict import Watch
from tests.workflows.image_states import NOW, SHIPPED
from workflows.approvals import KEPT
from workflows.details.dialogue import dialogue_details
from workflows.details.image import image_details
from workflows.details.inquiry import inquiry_details
from workflows.details.loop import loop_details
from workflows.image_state import ImageState, RunningTask
from workflows.ledger import Ledger
from workflows.verification import Verification, Verifying

STATES = ["analysing", "pending", "rewriting", *get_args(LoopState)]
DIFF = "\n".join(
    [
        "--- settings.toml",
        "+++ settings.toml (proposed)",
        "@@ -1,4 +1,4 @@",
        " [autopoiesis]",
        " # <b>Turns</b> of {workflowId} -- $x$",
        "",
        "-max_turns = 2",
        "+max_turns = 3",
    ]
)
OUR_TAGS = {"div", "h2", "h3", "p", "i", "b", "bdi", "ul", "ol", "li", "a", "br"}
OUR_TAGS |= {"table", "tr", "th", "td", "pre", "code", "font"}


class Shown(HTMLParser):
    """What a browser makes of a page: its tags, its links, its text, and the text of each <pre>."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.blocks: list[str] = []
        self.text = ""
        self._in_block = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag == "br":
            self.text += "\n"
        if tag == "pre":
            self.blocks.append("")
            self._in_block = True

    def handle_endtag(self, tag: str) -> None:
        self._in_block = self._in_block and tag != "pre"

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_block:
            self.blocks[-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment hides {data}")


LOOKS = [
    Look(blocks=blocks, gain=-0.1234, low=-0.2345, high=-0.0123, better=0.0123, p=0.9876)
    for blocks in (10, 20, 30, 40)
]


def verification(**more: Any) -> Verification:
    """Of one turn more, after four looks and without a verdict."""
    usual = {
        "loop_id": "image/loop/1",
        "revision": 2,
        "changes": [Change(key="autopoiesis.max_turns", old=2, new=3)],
        "by_person": False,
        "since": NOW,
        "ends_at": NOW,
        "expected": Effect(gain=0.05, low=0.0, high=0.1, better=0.9, worse=0.1),
        "watch": Watch(cap=40, differences=Moments(n=40, mean=-0.1234, m2=1.0), looks=LOOKS),
        "first_block": 0,
    }
    return Verification.model_validate(usual | more)


def harmful(**more: Any) -> Verification:
    """The same, which does harm: tasks are pinned to the old values."""
    watch = Watch(cap=40, differences=Moments(n=40, mean=-0.1234, m2=1.0), looks=LOOKS, verdict="harmful")
    return verification(watch=watch, pinned=True, noted=True, **more)


def proposal(**more: Any) -> ProposalView:
    view = {
        "loop_id": "image/loop/1",
        "state": "pending",
        "digest": "0123456789ab",
        "changes": [Change(key="autopoiesis.max_turns", old=2, new=3)],
        "diff": DIFF,
        "justification": "4 of 4 arguments ran out of turns.",
        "expected_effect": "They get one more.",
        "evidence": {"arguments": 4, "mean final dissonance": None},
        "source": "rule: turn budget",
        "expires_at": NOW,
    }
    return ProposalView.model_validate(view | more)


def hostile_proposal(text: str, state: str = "pending") -> ProposalView:
    return proposal(
        loop_id=text,
        state=state,
        changes=[Change(key=text, old=text, new=text)] * 20,
        diff=text,
        justification=text,
        expected_effect=text,
        evidence={f"{text}{number}": text for number in range(30)},
        source=text,
        reason=text,
        decided_by=text[:80],
        comment=text[:400],
        urgent=True,
        signatures=Signatures(
            approvers=[text],
            signed=[Signed(name=text[:40], changes={text: text}, at=NOW)] * 16,
            unheeded=[Unheeded(verdict="approve", approver=text[:80], reason=text, at=NOW)] * KEPT,
        ),
    )


def hostile_image(text: str, name: str, is_asked: bool = True) -> ImageState:
    finished = TaskView(
        task_id=name,
        task=text,
        phase="finished",
        outcome="failed",
        failure=text,
        submitted_at=NOW,
        rating=1 / 3,
        rating_comment=text,
        rated_by=text[:80],
    )
    running = RunningTask(
        task_id=name, task=text, task_type=text, origin=text, submitted_at=NOW, settings_digest=text
    )
    amendment = Amendment(
        revision=1,
        loop_id=name,
        source=text,
        changes=[Change(key=text, old=text, new=text)] * 20,
        state="no_proposal",
        reason=text,
        decided_by=text,
        comment=text,
        decided_at=NOW,
        verified=Verified(
            verdict="kept_unconfirmed", blocks=40, gain=-0.1234, low=-0.2, high=0.1, ended_by=text[:80]
        ),
    )
    verified = harmful(
        loop_id=name,
        changes=[Change(key=text, old=text, new=text)] * 20,
        reversal=name if is_asked else "",
        asked=2,
        ended_by=text[:80],
    )
    return ImageState(
        image_id=name,
        started_at=NOW,
        ledger=Ledger(settings=SHIPPED, settings_problem=text, amendments=[amendment] * 80),
        model_backend=text,
        running=[running] * 16,
        finished=[finished] * 60,
        open_loops=[name],
        set_aside=[SetAside(what=text, reason=text, excerpt=text, at=NOW)] * 10,
        verifying=Verifying(current=verified),
    )


def hostile_transcript(text: str) -> Transcript:
    unmeasured = Turn(turn=1, thesis=text, antithesis=text, dissonance=Dissonance(missing=text))
    return Transcript(
        task_id=text,
        task=text,
        plan=text,
        research=text,
        recalled=[Recollection(task_id=text, task=text, synthesis=text, score=0.5)] * 10,
        recalled_by=text,
        turns=[unmeasured] * 10,
        synthesis=text,
        speaking=text,
        failure=text,
        model_backend=text,
    )


def hostile_pages(text: str) -> list[str]:
    return [
        *(loop_details(hostile_proposal(text, state)) for state in STATES),
        image_details(hostile_image(text, text)),
        *(image_details(hostile_image(text, "n" * 64, is_asked)) for is_asked in (True, False)),
        dialogue_details(hostile_transcript(text)),
        inquiry_details(text, [Goal(persona="ROBIN", goal=text, why=text, score=0.5)] * 8, text),
    ]


def assert_ours_alone(page: str) -> None:
    """Nothing on a page but its own tags, its own links and its own placeholder, in one piece."""
    shown = Shown(page)
    assert set(shown.tags) <= OUR_TAGS
    assert shown.tags.count("div") == page.count("</div>") == 1
    assert all(link.startswith("/namespaces/{namespace}/workflows") for link in shown.links)
    assert page.count("{") == page.count("}") == page.count("{namespace}")
    assert "\n\n" not in page
