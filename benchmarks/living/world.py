"""The simulated image: windows of noisy tasks, approvals that take a window, blocks of two settings."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from benchmarks.living.surfaces import FAMILIES, GOALS, START, TUNABLES, WINDOWS, Surface, draw, unit
from messages.trials import Candidate, Moments, Observation, Replay, Round
from messages.verification import KEPT
from optimizer.space import Array, Space, Values
from optimizer.task_types import type_effects
from optimizer.verdict import Posterior, Watch, difference

TASKS = 40
APPROVED = 0.9
CAP = 40
HARM = 0.005
"""A change that was kept counts as harmful where it raises the loss by more than this."""

_TYPES = {"question": 0.0, "essay": 0.08, "code": -0.08}
_BATCH_SD = 0.02
# Half of the variance of a task is its own, whatever argues it.
_OWN = np.sqrt(0.5)


@dataclass
class Tasks:
    """What arrives in a window: of each task its type and how hard it is, in standard deviations."""

    types: list[str]
    hardness: Array


@dataclass
class Argued:
    """A task on record. `shift`: what it shares with all of its window, and keeps where it is replayed."""

    window: int
    values: Values
    type: str
    hardness: float
    shift: float
    dissonance: float
    tokens: float


@dataclass
class Ask:
    """What a policy asks for. `posterior` None: nothing watches it after the approval."""

    values: Values
    posterior: Posterior | None = None


@dataclass
class Trace:
    """What came of one run. Regret: of each window, the mean over its tasks. `harmful`: changes kept."""

    regret: list[float] = field(default_factory=list)
    final: float = 0.0
    proposals: int = 0
    verified: int = 0
    claims: int = 0
    false_claims: int = 0
    kept: int = 0
    harmful: int = 0
    replays: int = 0


class Policy(Protocol):
    def ask(self, image: "Image") -> Ask | None:
        """A change to ask a person for, at the end of a window in which nothing else is under way."""
        ...


class Image:
    """One image on one surface. The same seed brings the same tasks, whatever the policy does."""

    def __init__(self, family: str, seed: int) -> None:
        self.surface: Surface = draw(family, seed)
        self.seed = (seed, list(FAMILIES).index(family))
        self.space = Space(TUNABLES)
        self.present: Values = dict(START)
        self.window = 0
        self.batch = 0
        self.observations: list[Observation] = []
        self.record: list[Argued] = []
        self.trace = Trace()
        self._old: Values | None = None
        self._watch: tuple[Watch, Posterior] | None = None
        self._pending: Ask | None = None
        self._mix = np.full(len(_TYPES), 1 / len(_TYPES))

    def generator(self, what: int) -> np.random.Generator:
        """Chance of this window, by what it is for."""
        return np.random.default_rng([*self.seed, self.window, what])

    def live(self, policy: Policy) -> Trace:
        for self.window in range(WINDOWS):
            self.run_window()
            if self._pending is not None:
                self._decide(self._pending)
            elif self._watch is None and (ask := policy.ask(self)) is not None:
                self.trace.proposals += 1
                self._pending = ask
        self.trace.final = self.regret(self.present)
        return self.trace

    def regret(self, values: Values) -> float:
        return self.surface.loss(values, self.window) - self.surface.optimum(self.window)

    def tasks_to_try(self, count: int, what: int) -> list[Argued]:
        """So many of the last two windows, those under the present settings before others."""
        recent = [one for one in self.record if one.window >= self.window - 1]
        drawn = [recent[k] for k in self.generator(what).permutation(len(recent))]
        return sorted(drawn, key=lambda one: one.values != self.present)[:count]

    def try_out(self, candidates: Sequence[Candidate], tasks: Sequence[Argued], what: int) -> Round:
        """Replay tasks under each candidate, and under the present settings where the record is of others."""
        generator = self.generator(what)
        found = Round(candidates=list(candidates))
        for arm, values in enumerate([self.present, *(self.present | one.values for one in candidates)]):
            for number, task in enumerate(tasks):
                recorded = arm == 0 and task.values == self.present
                told = (task.dissonance, task.tokens)
                if not recorded:
                    told = self._argue(values, task.type, task.hardness, task.shift, generator)
                found.replays.append(
                    Replay(
                        task_id=f"{what} {number}",
                        arm=arm,
                        outcome="converged",
                        task_type=task.type,
                        dissonance=told[0],
                        tokens=int(told[1]),
                        recorded=recorded,
                    )
                )
        self.trace.replays += len(found.argued)
        return found

    def run_window(self) -> None:
        """Tasks in blocks of two; while a change is watched, one of each is under the settings of before."""
        generator = self.generator(0)
        tasks = self._arrive(generator)
        shift = generator.normal(0, _BATCH_SD)
        rows: dict[str, Observation] = {}
        effects = type_effects(row.dissonance for row in self.observations)
        total = 0.0
        for first in range(0, TASKS, 2):
            both = [self.present, self.present]
            new = int(generator.random() < 0.5)
            if self._old is not None:
                both[1 - new] = self._old
            losses: list[float] = []
            for number, values in zip((first, first + 1), both, strict=True):
                total += self.regret(values)
                name, hardness = tasks.types[number], float(tasks.hardness[number])
                dissonance, tokens = self._argue(values, name, hardness, shift, generator)
                self.record.append(Argued(self.window, values, name, hardness, shift, dissonance, tokens))
                losses.append(GOALS.loss(dissonance, tokens) - effects.get(name, 0.0))
                key = repr(values)
                row = rows.setdefault(key, Observation(digest=key, batch=self.batch, values=values))
                row.dissonance.setdefault(name, Moments()).add(dissonance)
                row.tokens.setdefault(name, Moments()).add(tokens)
            if self._watch is not None:
                watch, posterior = self._watch
                if watch.add(difference(losses[1 - new], losses[new]), posterior):
                    self._conclude(watch)
        self.observations += rows.values()
        self.batch += 1
        self.trace.regret.append(total / TASKS)

    def _arrive(self, generator: np.random.Generator) -> Tasks:
        """The next tasks, of a mix of types that wanders."""
        drawn = generator.dirichlet(8 * self._mix + 0.3)
        self._mix = 0.6 * self._mix + 0.4 * drawn
        types = generator.choice(list(_TYPES), TASKS, p=self._mix / self._mix.sum()).tolist()
        return Tasks(types, self._scatter(generator, TASKS))

    def _argue(
        self, values: Values, name: str, hardness: float, shift: float, generator: np.random.Generator
    ) -> tuple[float, float]:
        """Dissonance and tokens of one task."""
        scatter = self.surface.scatter(unit(values))
        chance = float(self._scatter(generator, 1)[0])
        mean = self.surface.dissonance(values, self.window) + _TYPES[name] + shift
        dissonance = mean + scatter * float(_OWN) * (hardness + chance)
        tokens = self.surface.tokens(values) * float(np.exp(generator.normal(0, 0.1)))
        return min(max(dissonance, 0.0), 1.0), tokens

    def _scatter(self, generator: np.random.Generator, count: int) -> Array:
        """Of unit variance; with the tails of t where the surface has them."""
        tails = self.surface.tails
        if tails is None:
            return generator.standard_normal(count)
        return np.asarray(generator.standard_t(tails, count) / np.sqrt(tails / (tails - 2)))

    def _decide(self, ask: Ask) -> None:
        self._pending = None
        if self.generator(1).random() >= APPROVED:
            return
        self._old, self.present = self.present, self.present | ask.values
        if ask.posterior is None:
            self._file(kept=True)
        else:
            self._watch = Watch(cap=CAP), ask.posterior

    def _conclude(self, watch: Watch) -> None:
        assert self._old is not None
        self.trace.verified += 1
        if watch.verdict == "improved":
            self.trace.claims += 1
            self.trace.false_claims += self._gain() <= 0
        self._watch = None
        self._file(kept=watch.verdict in KEPT)

    def _gain(self) -> float:
        assert self._old is not None
        return self.surface.loss(self._old, self.window) - self.surface.loss(self.present, self.window)

    def _file(self, *, kept: bool) -> None:
        assert self._old is not None
        if kept:
            self.trace.kept += 1
            self.trace.harmful += self._gain() < -HARM
        else:
            self.present = self._old
        self._old = None
