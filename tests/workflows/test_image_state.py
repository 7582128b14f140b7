"""What the image remembers is bounded at any age, and nothing it promised to keep is lost."""

import random
from contextlib import suppress
from datetime import timedelta
from typing import get_args

import pytest
from pydantic import ValidationError

from configuration import InvalidSettings, Settings
from configuration.team import TEAM
from messages.common import TASK_BYTES, LoopState, excerpt
from messages.files import SettingsFile
from messages.goals import Goal, InquiryConcluded
from messages.image import Keeping
from messages.loops import Change, LoopConcluded, LoopWaits
from messages.requests import RateTask, SubmitTask
from messages.tasks import PerformanceLog, Task, TaskCompleted
from messages.verification import Look
from tests.workflows.image_states import (
    LONG,
    LONGEST,
    NOW,
    SHIPPED,
    a_log,
    a_state,
)
from workflows import rating, verifying
from workflows.bounded import keep_newest, size_of
from workflows.image_state import QUEUE_BYTES, ImageState
from workflows.ledger import MOST_TALLIES, Ledger, UnheardRevert
from workflows.observing import TABLE_BYTES

LIMIT_BYTES = 256 * 1024
MODELS = ("alfred", "babs", "brick", "robin", "embedding")
WORST = {"4-byte characters": "\U0001f642", "control characters": "\x01", "quotes": '"', "letters": "x"}


@pytest.fixture
def state() -> ImageState:
    return a_state()


def most_text_in_a_log(char: str) -> str:
    """The longest text of these characters that a log may have for its words, beside the longest task id."""
    for length in range(40, 0, -1):
        with suppress(ValidationError):
            a_log("t" * 64, char * length, conditions="0" * 12)
            return char * length
    return "question"


def longest_task_type(char: str) -> str:
    with suppress(ValidationError):
        return SubmitTask(task="Why?", task_type=char * 40).task_type
    return "question"


def queue(state: ImageState, task_id: str, text: str = "Why?", task_type: str = "question") -> bool:
    """Submit a task as the image does; false when the queue refuses it."""
    if state.why_no_room(text):
        return False
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    state.queue.append(
        Task(
            task_id=task_id,
            task=text,
            task_type=task_type,
            origin="person",
            submitted_at=NOW,
            trace=trace,
        )
    )
    return True


def longest_declarations(char: str) -> Settings:
    """Settings with as much to choose from, and as many names of a person's own, as there may be."""
    values = LONGEST.model_dump(mode="json")
    values["models"]["allowed"] = [f"{number}{'m' * 119}" for number in range(8)]
    values["optimizer"] |= {"creator": "c" * 120, "judge": "j" * 120}
    for length in range(120, 0, -1):
        with suppress(InvalidSettings):
            own = {"value": LONG, "low": 0.0, "high": LONG * 2, "step": LONG, "meaning": char * length}
            return Settings.parse(values | {"custom": {f"name_{number}": own for number in range(12)}})
    raise AssertionError("no meaning is short enough")


class Life:
    """Years of an image's events in a random order, each as large as a message can be."""

    def __init__(self, char: str, seed: int) -> None:
        self.chance = random.Random(seed)
        self.char = char
        self.text_in_a_log = most_text_in_a_log(char)
        self.task_type = longest_task_type(char)
        self.count = 0
        self.accepted: list[str] = []
        self.goals: list[str] = []
        self.started: list[str] = []
        self.conditions = "0" * 12
        # Settings hold no control characters.
        written = char if char.isprintable() else WORST["4-byte characters"]
        self.settings = longest_declarations(written).with_changes(
            {
                "system.max_concurrent_tasks": 16,
                "system.max_queued_tasks": 500,
                "system.image_path": written * 300,
                "models.host": f"http://{written * 193}",
                "motivator.goals": True,
                "motivator.goals_per_day": 100,
                "motivator.inquiry_threshold": 0.1,
                "cadence.window": 120,
                "cadence.min_logs": 100,
                **{f"models.{member.key}": written * 120 for member in TEAM},
            }
        )
        self.state = ImageState(
            image_id="i" * 64, started_at=NOW, ledger=Ledger(settings=self.settings), model_backend=char * 600
        )

    def name(self) -> str:
        self.count += 1
        return f"{self.count}-".ljust(64, "t")

    def live(self) -> None:
        """One event, whichever."""
        self.chance.choice(
            [
                *(self.submit, self.submit, self.finish, self.lose, self.log, self.err),
                *(self.reflect, self.edit, self.wonder, self.fail, self.rate, self.rewrite_prompts),
                *(self.verify, self.end_verification, self.assign),
            ]
        )()

    def submit(self) -> None:
        self.submit_one(self.chance.choice([1, TASK_BYTES]))
        if self.chance.random() < 0.3:
            self.start()

    def submit_one(self, length_bytes: int) -> bool:
        name = self.name()
        text = self.char * (length_bytes // len(self.char.encode()) or 1)
        accepted = queue(self.state, name, text, self.task_type)
        self.accepted += [name] if accepted else []
        return accepted

    def fill(self) -> None:
        """Fill what empties again in an image's life, its inquiry and its troubles included."""
        for _ in range(max(MOST_TALLIES, self.settings.cadence.window)):
            self.edit()
            self.log()
        self.start()
        self.rate()
        for length in (TASK_BYTES, TASK_BYTES // 8, 1):
            while self.submit_one(length):
                self.start()
        while not self.state.motivation.inquiry:
            self.wonder()
        self.finish()
        self.start()
        while not self.state.open_loops:
            self.state.open_loop(NOW)
        self.fail()
        self.end_verification()
        self.verify()
        self.start()

    def start(self) -> None:
        while task := self.state.next_task():
            self.started.append(task[0].task_id)

    def finish(self) -> None:
        if self.state.running:
            task = self.chance.choice(self.state.running)
            told = {"settings_digest": task.settings_digest, "conditions": self.conditions}
            log = a_log(task.task_id, self.text_in_a_log, **told)
            self.state.finish(log, self.char * 5000, NOW)

    def rewrite_prompts(self) -> None:
        self.conditions = f"{self.count:012x}"

    def rate(self) -> None:
        """Somebody has much to say of every answer."""
        for task in list(self.state.finished):
            request = RateTask(
                task_id=task.task_id, rating=1 / 3, comment=self.char * 400, rated_by=self.char * 80
            )
            if not rating.why_not(self.state, request):
                rating.rate(self.state, request)

    def lose(self) -> None:
        if self.state.running:
            task = self.chance.choice(self.state.running)
            log = self.state.lost_task_log(task.task_id, NOW)
            assert log is not None
            self.state.finish(log, self.char * 5000, NOW)

    def log(self) -> None:
        self.state.record_log(a_log(self.name(), self.text_in_a_log))

    def assign(self) -> None:
        name = self.name()
        self.state.assign(name)
        if self.chance.random() < 0.2:
            self.state.record_from_outside(a_log(name, self.text_in_a_log), NOW)

    def err(self) -> None:
        self.state.put_aside("task_completed", self.char * 5000, {"nonsense": self.char * 5000}, NOW)

    def reflect(self) -> None:
        if not self.state.open_loops:
            self.state.answer(f"{self.count:012}", self.state.open_loop(NOW))
        turns = self.state.settings.autopoiesis.max_turns
        conclusion = LoopConcluded(
            loop_id=self.state.open_loops[0],
            state=self.chance.choice(get_args(LoopState)),
            reason=self.char * 5000,
            source="rule: turn budget",
            changes=[Change(key="autopoiesis.max_turns", old=turns, new=turns % 10 + 1)],
            decided_by=self.char * 80,
            comment=self.char * 400,
            decided_at=NOW,
            task_ids=[log.task_id for log in self.state.window],
        )
        settings = self.state.settings.with_changes({"autopoiesis.max_turns": turns % 10 + 1})
        file = SettingsFile(settings=settings, digest=settings.digest(), owner=self.char * 32)
        self.state.conclude(conclusion, self.chance.choice([None, file]))

    def verify(self) -> None:
        """A change of as much as can be verified."""
        entry = self.state.ledger.amendments[-1] if self.state.ledger.amendments else None
        if entry is None or self.state.verifying.open:
            return
        smile = WORST["4-byte characters"]
        names = [Change(key=f"models.{key}", old=smile * 120, new="n" * 480) for key in ("brick", "robin")]
        changed = entry.model_copy(update={"changes": names, "loop_id": f"{'i' * 64}/loop/1000000"})
        verifying.begin(self.state, changed, NOW)
        current = self.state.verifying.current
        assert current is not None
        assert len(current.changes) == 2
        while len(current.watch.looks) < 4:
            current.watch.looks.append(
                Look(blocks=100, gain=LONG / 7, low=-LONG / 7, high=LONG / 7, better=LONG / 7, p=LONG / 7)
            )

    def end_verification(self) -> None:
        if current := self.state.verifying.open:
            current.watch.close(lambda differences: 1.0)
            current.settle(self.char * 80, self.char * 400)
            verified = current.verified()
            assert verified is not None
            self.state.ledger.note_verified(current.revision, verified)

    def edit(self) -> None:
        threshold = round(self.chance.uniform(0.05, 0.9), 2)
        self.state.ledger.adopt_edit(
            self.state.settings.with_changes({"autopoiesis.convergence_threshold": threshold}),
            self.char * 32,
            NOW,
        )

    def wonder(self) -> None:
        """An inquiry begins, or one ends with a goal."""
        motivation = self.state.motivation
        if not motivation.inquiry:
            motivation.open(self.state.image_id, self.state.settings.motivator, NOW)
            return
        best = Goal(persona="ALFRED", goal=self.char * 300, why=self.char * 300)
        name = f"goal-{motivation.next_number - 1}"
        self.state.conclude_inquiry(InquiryConcluded(inquiry_id=motivation.inquiry, best=best), NOW)
        self.goals += [name] if self.state.position(name) else []

    def fail(self) -> None:
        """Nothing works that touches files."""
        words = self.char * 5000
        for loop_id in self.state.open_loops:
            self.state.note_obstacle(LoopWaits(loop_id=loop_id, obstacle=words))
        self.state.ledger.settings_problem = excerpt(words, 1000)
        self.state.ledger.unheard = UnheardRevert(
            order="o" * 64, source="revert to revision 1000000", by=self.char * 80, comment=self.char * 400
        )
        self.state.keeping = Keeping(
            active_at=NOW,
            tried_at=NOW,
            saved_at=NOW,
            generation=10**9,
            path=f"{'/folder' * 40}/{self.char * 300}",
            problem=excerpt(words, 500),
        )

    def bytes(self) -> int:
        return len(self.state.model_dump_json().encode())


# --- bounds ---


@pytest.mark.parametrize("char", WORST.values(), ids=WORST.keys())
def test_the_state_stays_under_256_kib_through_thousands_of_the_largest_events(char: str) -> None:
    life = Life(char, seed=1)
    fullest = 0
    for event in range(1000):
        life.live()
        if event % 100 == 0:
            assert life.bytes() < LIMIT_BYTES
            fullest = max(fullest, size_of(life.state.observing))
    life.fill()
    assert life.bytes() < LIMIT_BYTES
    # All that may be tuned takes up to 3 KiB for one digest, so that much may be free when one has left.
    assert TABLE_BYTES - 4 * 1024 < fullest <= TABLE_BYTES
    assert ImageState.model_validate_json(life.state.model_dump_json()) == life.state


@pytest.mark.parametrize("char", WORST.values(), ids=WORST.keys())
def test_the_queue_accepts_no_more_than_it_may_hold(char: str) -> None:
    life = Life(char, seed=1)
    life.fill()
    assert sum(len(task.model_dump_json().encode()) for task in life.state.queue) <= QUEUE_BYTES


@pytest.mark.parametrize("seed", range(2))
def test_every_accepted_task_starts_once_in_the_order_of_acceptance(seed: int) -> None:
    life = Life("x", seed)
    for _ in range(1000):
        life.live()
    while life.state.queue:
        life.finish()
        life.start()
    assert [name for name in life.started if name not in life.goals] == life.accepted
    assert [name for name in life.started if name in life.goals] == life.goals
    assert life.state.finished_count + len(life.state.running) == len(life.started)


def test_a_full_queue_refuses_with_the_reason(state: ImageState) -> None:
    state.ledger.settings = SHIPPED.with_changes({"system.max_queued_tasks": 3})
    assert [queue(state, f"t{n}") for n in range(4)] == [True, True, True, False]
    assert "3 tasks wait ([system] max_queued_tasks)" in state.why_no_room("Why?")


def test_a_queue_full_of_text_refuses_with_the_reason(state: ImageState) -> None:
    while queue(state, f"t{len(state.queue)}", "x" * TASK_BYTES):
        pass
    assert len(state.queue) < SHIPPED.system.max_queued_tasks
    assert "36 KiB of task text wait" in state.why_no_room("x" * TASK_BYTES)
    assert state.why_no_room("Why?") == ""


def test_lists_drop_their_oldest_first() -> None:
    assert keep_newest(list("abcd"), 2, 100) == ["c", "d"]
    assert keep_newest(["a" * 100, "b" * 10, "c" * 10], 9, 30) == ["b" * 10, "c" * 10]


def test_one_entry_too_large_for_its_list_does_not_push_out_the_others() -> None:
    assert keep_newest(["a", "b", "x" * 50], 9, 10) == ["a", "b"]


# --- what is kept, once ---


def test_a_log_sent_twice_counts_once(state: ImageState) -> None:
    assert [state.record_log(a_log("one")) for _ in range(3)] == [True, False, False]
    assert [log.task_id for log in state.window] == ["one"]


def test_a_task_reported_twice_is_finished_once(state: ImageState) -> None:
    queue(state, "one")
    state.next_task()
    assert [state.finish(a_log("one"), "", NOW) for _ in range(2)] == [True, False]
    assert (state.finished_count, len(state.finished), len(state.window)) == (1, 1, 1)


def test_a_lost_task_is_finished_as_failed_with_a_log_and_the_reason(state: ImageState) -> None:
    queue(state, "one")
    state.next_task()
    log = state.lost_task_log("one", NOW + timedelta(seconds=90))
    assert log is not None
    state.finish(log, "Lost: terminated", NOW)
    (view,) = state.finished
    assert (view.outcome, view.failure, state.failed_count) == ("failed", "Lost: terminated", 1)
    assert (state.window[0].final_dissonance, state.window[0].seconds) == (None, 90)


def test_the_queue_of_a_retired_image_is_on_record_as_failed(state: ImageState) -> None:
    for number in range(3):
        queue(state, f"t{number}")
    state.drop_queue("Retired: the image was retired", NOW)
    assert state.queue == []
    assert [view.failure for view in state.finished] == ["Retired: the image was retired"] * 3


@pytest.mark.parametrize("char", WORST.values(), ids=WORST.keys())
def test_every_task_that_is_accepted_can_be_logged(char: str) -> None:
    PerformanceLog(
        task_id="t" * 64,
        task_type=longest_task_type(char),
        final_dissonance=LONG,
        turn_count=10,
        outcome="converged",
        settings_digest=SHIPPED.digest(),
        conditions="0123456789ab",
        arm="old",
        active_heuristics=LONGEST.heuristics(),
        tokens_in=10**6,
        tokens_out=10**6,
        seconds=86400.123,
        origin="motivator",
        finished_at=NOW.replace(microsecond=123456),
    )


def test_the_news_of_a_task_cannot_name_a_model_at_any_length() -> None:
    with pytest.raises(ValidationError):
        TaskCompleted(task_id="one", log=a_log("one"), model_backend="x" * 1000)
