"""Who asks for changes: nobody, rules, chance, Optuna, a Gaussian process alone, and the whole design."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import optuna

from benchmarks.living.surfaces import GOALS, MODEL, MODELS, TEMPERATURE, THRESHOLD, TURNS, WINDOWS
from benchmarks.living.world import Argued, Ask, Image, Policy, Trace
from messages.trials import Moments, Round
from optimizer.candidates import best, pool
from optimizer.consider import SECOND_ROUND, Situation, decide, rows_of
from optimizer.screening import MIXTURES
from optimizer.space import Values
from optimizer.surrogate import Surrogate
from optimizer.verdict import Posterior, normal_posterior

# Of the first and of the second round, as settings.toml has them.
FIRST_TASKS, SECOND_TASKS = 3, 8


class LeaveAlone:
    def ask(self, image: Image) -> Ask | None:
        return None


class IfRule:
    """Where the mean dissonance is high after many turns: fewer turns and an easier agreement, unseen."""

    def ask(self, image: Image) -> Ask | None:
        dissonance = _mean(image)
        turns, threshold = float(image.present[TURNS]), float(image.present[THRESHOLD])
        if dissonance <= 0.4 or turns <= 2:
            return None
        return Ask({TURNS: int(turns) - 1, THRESHOLD: min(round(threshold + 0.05, 2), 0.9)})


class TurnBudget:
    """One turn more where half of the arguments end above the threshold, one fewer where hardly any does."""

    def ask(self, image: Image) -> Ask | None:
        dissonance, scatter = _mean(image), 0.17
        turns, above = int(image.present[TURNS]), dissonance - float(image.present[THRESHOLD])
        if above >= 0 and turns < 10:
            return Ask({TURNS: turns + 1})
        if above < -3 * scatter and turns > 1:
            return Ask({TURNS: turns - 1})
        return None


class RandomStep:
    def ask(self, image: Image) -> Ask | None:
        steps = image.space.steps(image.present)
        return Ask(steps[int(image.generator(2).integers(len(steps)))])


@dataclass
class GaussianProcess:
    """The step with the best score, untried. `posterior`: what watches it, by the expected effect."""

    watch: Callable[..., Posterior] | None = None

    def ask(self, image: Image) -> Ask | None:
        surrogate = Surrogate(image.space, GOALS, image.present, image.observations)
        offered = pool(image.space, image.present, (), image.generator(2))
        found = best(surrogate, offered, GOALS, 1)
        if not found or found[0].effect is None:
            return None
        return Ask(found[0].values, self.watch and self.watch(found[0].effect))


def strictly(effect: object) -> Posterior:
    """Nothing is kept but what the test claims."""
    return lambda differences: 0.5


@dataclass
class Design:
    """Trials, the gate, and the watch after the approval. `budget`: of replays for the whole time."""

    budget: int | None = None

    def ask(self, image: Image) -> Ask | None:
        tasks = image.tasks_to_try(FIRST_TASKS + SECOND_TASKS, 3)
        first = self._affordable(image, tasks[:FIRST_TASKS], MIXTURES)
        situation = Situation(
            space=image.space,
            goals=GOALS,
            present=image.present,
            observations=[*image.observations],
            may_try=len(first) == FIRST_TASKS,
            first_tasks=FIRST_TASKS,
            seed=int(image.generator(2).integers(2**31)),
        )
        rounds: list[Round] = []
        waiting = first
        while (decision := decide(situation)).candidates:
            rounds.append(image.try_out(decision.candidates, waiting, 4 + len(rounds)))
            waiting = self._affordable(image, tasks[FIRST_TASKS:], SECOND_ROUND)
            situation.rounds, situation.may_try = rounds, bool(waiting)
        for tried in rounds:
            image.observations += rows_of(tried, image.present, "", image.batch)
            image.batch += 1
        if decision.choice is None:
            return None
        return Ask(decision.choice.candidate.values, normal_posterior(decision.choice.effect))

    def _affordable(self, image: Image, tasks: list[Argued], candidates: int) -> list[Argued]:
        """As many of the tasks as the budget has replays left for."""
        if self.budget is None:
            return tasks
        costs = (candidates + (task.values != image.present) for task in tasks)
        left = self.budget - image.trace.replays
        return [task for task, spent in zip(tasks, accumulate(costs), strict=True) if spent <= left]


def live(family: str, seed: int, make: Callable[[], Policy]) -> Trace:
    return Image(family, seed).live(make())


def tpe(family: str, seed: int) -> Trace:
    """Optuna's TPE over the whole space: every window under other settings, nobody is asked."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    image = Image(family, seed)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({TURNS: 4, THRESHOLD: 0.4, TEMPERATURE: 0.6, MODEL: "middle"})
    best_values: Values = image.present
    for window in range(WINDOWS):
        trial = study.ask()
        image.window = window
        image.present = {
            TURNS: trial.suggest_int(TURNS, 1, 10),
            THRESHOLD: trial.suggest_float(THRESHOLD, 0.05, 0.9),
            TEMPERATURE: trial.suggest_float(TEMPERATURE, 0.0, 1.5),
            MODEL: trial.suggest_categorical(MODEL, MODELS),
        }
        image.run_window()
        study.tell(trial, _loss(image))
        if study.best_trial.number == trial.number:
            best_values = image.present
    image.trace.proposals = WINDOWS - 1
    image.trace.final = image.regret(best_values)
    return image.trace


POLICIES: dict[str, Callable[[str, int], Trace]] = {
    "leave it alone": lambda family, seed: live(family, seed, LeaveAlone),
    "an if-rule": lambda family, seed: live(family, seed, IfRule),
    "a turn-budget rule": lambda family, seed: live(family, seed, TurnBudget),
    "random step, always accept": lambda family, seed: live(family, seed, RandomStep),
    "Optuna TPE, whole space, no approval": tpe,
    "GP, always accept": lambda family, seed: live(family, seed, GaussianProcess),
    "GP, verified strictly": lambda family, seed: live(family, seed, lambda: GaussianProcess(strictly)),
    "GP, verified, posterior at the cap": lambda family, seed: live(
        family, seed, lambda: GaussianProcess(normal_posterior)
    ),
    "the design": lambda family, seed: live(family, seed, Design),
    "the design, at most 120 replays": lambda family, seed: live(family, seed, lambda: Design(120)),
}


def _mean(image: Image) -> float:
    return _moments(image, "dissonance").mean


def _loss(image: Image) -> float:
    return GOALS.loss(_mean(image), _moments(image, "tokens").mean)


def _moments(image: Image, figure: str) -> Moments:
    """Of the last window's tasks, all types together."""
    row, found = image.observations[-1], Moments()
    for one in (row.dissonance if figure == "dissonance" else row.tokens).values():
        found.merge(one)
    return found
