"""One round: deeds and disasters at once, then all is put right, and the checker looks."""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Sequence

from temporalio.client import WorkflowUpdateFailedError

from benchmarks.chaos.body import LOOK_SECONDS, Body
from benchmarks.chaos.checker import judge
from benchmarks.chaos.person import PACE, PATIENCE_SECONDS, NoAnswer, Person
from benchmarks.chaos.points import POINTS
from benchmarks.chaos.witness import Witness
from configuration import Value
from testbed.fake_ollama import FakeOllama, FaultKind, Script
from testbed.world import until

SETTINGS: dict[str, Value] = {
    "system.max_concurrent_tasks": 4,
    "system.snapshot_keep": 5,
    "models.max_concurrent_calls": 8,
    # A model that hangs costs a call no more than this.
    "models.call_timeout": "1500ms",
    "autopoiesis.max_turns": 1,
    "cadence.min_logs": 4,
    "cadence.check_every": "7d",
    "motivator.idle_after": "3s",
    "optimizer.minimum_gain": 0.0,
}
PACE_DECLARED = """
[custom.pace]
value = 0
low = 0
high = 3
step = 1
meaning = "how fast a program goes"
"""
WARMTH = "temperatures.robin"
MOST_BLOCKS = 10
MOST_VERIFIED_TASKS = 40

log = logging.getLogger(__name__)

AT_RANDOM = ("worker", "server", "both")
KINDS = (*AT_RANDOM, *POINTS, "trials", "verdict", "clock")
"""When a round's kill comes: at random, at a point, between trials, after a verdict, as the clock jumps."""
HANGS: tuple[FaultKind, ...] = ("slow",)
DROPS: tuple[FaultKind, ...] = ("drop", "no_end", "error_midway", "server_error")
GARBAGE: tuple[FaultKind, ...] = (
    "not_json",
    "unknown_label",
    "empty",
    "not_ollama",
    "surrogate",
    "line_ends",
)


def script() -> Script:
    """A model that says how far apart two answers are by how warmly ROBIN spoke: the warmer the better."""
    labels = ("opposite", "unrelated", "partly_different", "same")
    by_warmth = {str(hundredths / 100): labels[min(3, hundredths // 40)] for hundredths in range(151)}
    warmer = {"changes": [{"key": WARMTH, "value": 0.9}], "reason": "It may say more."}
    return Script(
        labels_at=by_warmth, candidates=[warmer], needs_research=True, dimension=32, delay_seconds=0.01
    )


class Rounds:
    """All rounds of one life. `violations` grows; `met` counts what happened."""

    def __init__(self, body: Body, person: Person, witness: Witness, fake: FakeOllama, seed: int) -> None:
        self.body, self.person, self.witness, self.fake = body, person, witness, fake
        self.chance = random.Random(seed)
        self.met: Counter[str] = Counter()
        self.violations: list[str] = []
        self._done = False
        self._proposed = asyncio.Event()

    async def live(self, number: int, kind: str) -> list[str]:
        """One round; what the checker found in it."""
        found: list[str] = []
        try:
            await self._disasters_and_deeds(kind)
            unsettled = await self.witness.settled()
            found += [unsettled] if unsettled else judge(await self.witness.evidence())
        except* (NoAnswer, TimeoutError) as violations:
            found += map(repr, violations.exceptions)
        self.violations += [f"round {number} ({kind}): {each}" for each in found]
        return found

    async def _disasters_and_deeds(self, kind: str) -> None:
        self._done = False
        self._proposed.clear()
        if kind in POINTS:
            self.body.arm(kind)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._do(kind))
            for disaster in (self._model_fails(), self._disk_fills()):
                group.create_task(disaster)
            if kind in AT_RANDOM:
                group.create_task(self._kill_at_random(kind))
            elif kind in POINTS:
                group.create_task(self._kill_at_point(kind))
            elif kind == "clock":
                group.create_task(self._clock_jumps())
        self.fake.script.faults.clear()

    async def _do(self, kind: str) -> None:
        """The deeds of a round: those that take longer have one of their own."""
        if kind == "trials":
            await self._try()
        elif kind == "verdict":
            await self._verify()
        else:
            surely = kind in ("temporary", "replace", "replaced")
            deeds = (
                self.person.ask(3),
                self._decide(surely),
                self._edit(surely),
                self._save(),
                self.person.rate(),
            )
            await asyncio.gather(*deeds)
        self._done = True

    # --- deeds ---

    async def _decide(self, surely: bool) -> None:
        """Decide on what is proposed: approve it two of three times, or surely."""
        await self.person.hand_in_logs()
        verdicts = ("approve",) if surely else ("approve", "approve", "reject")
        await self._conclude(await self.person.reflect(), verdicts)

    async def _conclude(self, loop_id: str, verdicts: Sequence[str]) -> None:
        """Wait for what a loop proposes, if anything, and decide on it."""
        view = await self.person.proposal(loop_id)
        self._proposed.set()
        if view.state == "pending" and loop_id not in self.person.said:
            await self._pause(1)
            ended = await self.person.decide(loop_id, self.chance.choice(verdicts))
            self.met[f"amendments {ended.state}"] += 1
        else:
            self.met[f"amendments {view.state}"] += 1
            log.info("%s: %s", view.state, view.reason)
        self.met["trials"] += sum(len(each.argued) for each in view.rounds)

    async def _edit(self, harmless: bool) -> None:
        """Maybe in the way of what is proposed just now: its loop must end as stale, or come first."""
        await self._proposed.wait()
        await self._pause(1.5)
        edits: list[dict[str, Value]] = [
            {"optimizer.token_budget": self.chance.randrange(10_000, 30_000)},
            {"motivator.goals_per_day": self.chance.randrange(1, 100)},
            {WARMTH: 0.7},
            {PACE: self.chance.randrange(4)},
        ]
        await self.person.edit(self.chance.choice(edits[:2] if harmless else edits))
        self.met["edits"] += 1

    async def _save(self) -> None:
        await self._pause(2)
        self.met["saved" if await self.person.save() else "not saved"] += 1

    async def _try(self) -> None:
        """A loop with trials, killed between two of them."""
        trying: dict[str, Value] = {"optimizer.trial_tasks": 2, "optimizer.creator": "", PACE: 3, WARMTH: 0.7}
        await self.person.edit(trying)
        await self._adopted()
        await self.person.finished(await self.person.ask(6))
        loop_id = await self.person.reflect()
        past = self._plans()
        concluding = asyncio.create_task(self._conclude(loop_id, ("approve", "reject")))
        while self._plans() <= past + 1 and not concluding.done():  # noqa: ASYNC110 (a call has no event)
            await asyncio.sleep(LOOK_SECONDS)
        if not concluding.done():
            self.met["kills between two trials"] += 1
            await self.body.kill(*self._victims())
        await concluding
        await self.person.edit({"optimizer.trial_tasks": 0, "optimizer.creator": "off", PACE: 0, WARMTH: 0.6})

    def _plans(self) -> int:
        return sum(call.asks == "plan" for call in self.fake.calls)

    async def _verify(self) -> None:
        """A person's edit that does harm is verified; killed between the verdict and the way back."""
        await self.person.edit({"optimizer.verify_blocks": MOST_BLOCKS, WARMTH: 1.3})
        await self._adopted()
        await self.person.edit({WARMTH: 0.2})
        await self._adopted()
        with contextlib.suppress(WorkflowUpdateFailedError):
            await self.person.update("verify_settings", None, dict)
            await self._until_judged()
        view = await self.person.verification()
        if view and view.reversal:
            await self._conclude(view.reversal, ("approve",))
        await self.person.edit({"optimizer.verify_blocks": 0, WARMTH: 0.6})

    async def _until_judged(self) -> None:
        for _ in range(0, MOST_VERIFIED_TASKS, 4):
            ids = await self.person.ask(4)
            done = asyncio.create_task(self.person.finished(ids))
            while not done.done():
                view = await self.person.verification()
                if view and view.verdict:
                    self.met["kills between verdict and reversal"] += 1
                    self.met[f"verdicts {view.verdict}"] += 1
                    await self._kill_with_work(*self._victims())
                    await done
                    await self._asked_for_the_way_back()
                    return
                await asyncio.sleep(0.1)
            await done

    async def _asked_for_the_way_back(self) -> None:
        async def asked() -> bool:
            view = await self.person.verification()
            return view is None or bool(view.reversal or view.settled)

        await until(asked, PATIENCE_SECONDS)

    async def _adopted(self) -> None:
        """Wait until the image has what the file says."""

        async def same() -> bool:
            status = await self.person.insist("status", self.person.image.status)
            return status.digest == self.person.image.on_file().digest()

        await until(same, PATIENCE_SECONDS)

    # --- disasters ---

    async def _kill_at_random(self, kind: str) -> None:
        for _ in range(self.chance.choice((1, 1, 2))):
            await self._pause(2.5)
            await self._kill_with_work(*(("worker", "server") if kind == "both" else (kind,)))

    async def _kill_at_point(self, kind: str) -> None:
        """The worker dies where it is armed, if it comes there; a third of the time the server with it."""
        if not await self.body.died_there(lambda: self._done):
            self.met[f"never came to {kind}"] += 1
            return
        died = time.monotonic()
        self.met[f"kills {POINTS[kind]}"] += 1
        if self.chance.random() < 0.33:
            await self._kill_with_work("server")
        else:
            await asyncio.gather(self.person.ask(2), self.body.progress_after(died))

    async def _kill_with_work(self, *victims: str) -> None:
        """Kill while there are tasks, so that progress can be seen."""
        await asyncio.gather(self.person.ask(2), self.body.kill(*victims))

    def _victims(self) -> Sequence[str]:
        return self.chance.choice((("worker",), ("worker",), ("server",), ("worker", "server")))

    async def _model_fails(self) -> None:
        """In half of the rounds, for a few calls."""
        if self.chance.random() < 0.5:
            return
        name, kinds = self.chance.choice((("hangs", HANGS), ("drops", DROPS), ("garbage", GARBAGE)))
        self.met[f"model: {name}"] += 1
        await self._pause(1)
        for _ in range(1 if kinds is HANGS else self.chance.randrange(1, 5)):
            self.fake.fail(self.chance.choice(kinds))

    async def _clock_jumps(self) -> None:
        """Under a worker that is started with a clock that can, and killed afterwards."""
        self.body.jumpy = True
        await self._kill_with_work("worker")
        for _ in range(2 if self.body.clock else 0):
            await self._pause(4)
            self.met["clock jumps"] += 1
            self.body.set_clock(self.chance.choice((-86_400, -3_600, -5, 5, 3_600, 86_400)))
        await self._pause(2)
        self.body.jumpy = False
        await self._kill_with_work("worker")

    async def _disk_fills(self) -> None:
        if self.body.may_fill and self.chance.random() < 0.2:
            await self._pause(2)
            self.met["full disk"] += 1
            with self.body.full_disk():
                await asyncio.sleep(self.chance.uniform(0.5, 3))

    async def _pause(self, longest_seconds: float) -> None:
        await asyncio.sleep(self.chance.uniform(0, longest_seconds))


def order(kinds: Sequence[str], count: int, chance: random.Random) -> list[str]:
    """As many kinds of rounds, each as often as the others, in random order."""
    found: list[str] = []
    while len(found) < count:
        found += chance.sample(kinds, len(kinds))
    return found[:count]
