"""Years of an image, each event as large as a message can be."""

import random
from contextlib import suppress
from typing import get_args

from pydantic import ValidationError

from configuration import InvalidSettings, Settings
from configuration.team import TEAM
from messages.common import TASK_BYTES, LoopState, excerpt
from messages.files import SettingsFile
from messages.goals import Goal, InquiryConcluded
from messages.image import Keeping
from messages.loops import Change, LoopConcluded, LoopWaits
from messages.requests import RateTask, SubmitTask
from messages.tasks import Task
from messages.verification import Look
from tests.workflows.image_states import (
    LONG,
    LONGEST,
    NOW,
    a_log,
)
from workflows import rating, verifying
from workflows.image_state import ImageState
from workflows.ledger import MOST_TALLIES, Ledger, UnheardRevert

WORST = {"4-byte characters": "\U0001f642", "control characters": "\x01", "quotes": '"', "letters": "x"}


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
