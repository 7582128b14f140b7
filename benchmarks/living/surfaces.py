"""Eight families of surfaces: what a task comes to on average, by the settings and the window.

Each is drawn anew for every seed: where the optimum lies, how steep it is, and which model is best.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from configuration import Tunable
from optimizer.goals import Goals
from optimizer.space import Values

TURNS, THRESHOLD, TEMPERATURE, MODEL = "max_turns", "convergence_threshold", "temperature", "model"
MODELS = ("small", "middle", "large")
TUNABLES = (
    Tunable(key=TURNS, kind="integer", meaning="turns before an argument ends", low=1, high=10, step=1),
    Tunable(key=THRESHOLD, kind="number", meaning="dissonance of agreement", low=0.05, high=0.9, step=0.1),
    Tunable(key=TEMPERATURE, kind="number", meaning="freedom in the wording", low=0.0, high=1.5, step=0.2),
    Tunable(key=MODEL, kind="choice", meaning="which model speaks", choices=MODELS),
)
START: Values = {TURNS: 4, THRESHOLD: 0.4, TEMPERATURE: 0.6, MODEL: "middle"}
WINDOWS = 24
GOALS = Goals()

_BASE = 0.28
_TOKENS, _TOKENS_A_TURN = 1500.0, 900.0
_PRICES = {"small": 0.8, "middle": 1.0, "large": 1.3}
Point = tuple[float, float, float]
Shape = Callable[[Any, Any, Any, int], Any]
"""From turns, threshold and temperature in [0, 1], and the window, to what they add to the dissonance.

Numbers, or arrays of them.
"""

# All turns, and the others finely enough that the optimum is missed by less than .001.
_TURNS, _THRESHOLD, _TEMPERATURE = np.meshgrid(
    np.linspace(0, 1, 10), np.linspace(0, 1, 35), np.linspace(0, 1, 61), indexing="ij"
)


def unit(values: Values) -> Point:
    turns, threshold, temperature = (float(values[key]) for key in (TURNS, THRESHOLD, TEMPERATURE))
    return (turns - 1) / 9, (threshold - 0.05) / 0.85, temperature / 1.5


@dataclass
class Surface:
    """One draw of a family. `scatter`: the standard deviation of a task; `tails`: degrees of freedom of t."""

    family: str
    shape: Shape
    models: dict[str, float]
    scatter: Callable[[Point], float] = lambda at: 0.15
    tails: float | None = None
    costs: bool = True
    moves: bool = False

    def dissonance(self, values: Values, window: int) -> float:
        return float(_BASE + self.shape(*unit(values), window) + self.models[str(values[MODEL])])

    def tokens(self, values: Values) -> float:
        if not self.costs:
            return _TOKENS + 4 * _TOKENS_A_TURN
        return _TOKENS + _TOKENS_A_TURN * float(values[TURNS]) * _PRICES[str(values[MODEL])]

    def loss(self, values: Values, window: int) -> float:
        return self.dissonance(values, window) + GOALS.price(self.tokens(values))

    def optimum(self, window: int) -> float:
        """The least loss on a fine grid, computed once where the surface stands still."""
        at = window if self.moves else 0
        if at not in self._optima:
            added = self.shape(_TURNS, _THRESHOLD, _TEMPERATURE, at) + np.zeros(_TURNS.shape)
            least = added.min(axis=(1, 2))
            self._optima[at] = min(
                float(least[turns - 1])
                + self.loss(START | {TURNS: turns, MODEL: model}, at)
                - float(self.shape(*unit(START | {TURNS: turns}), at))
                for turns in range(1, 11)
                for model in MODELS
            )
        return self._optima[at]

    def __post_init__(self) -> None:
        self._optima: dict[int, float] = {}


def draw(family: str, seed: int) -> Surface:
    """A surface of the family, the same for the same seed."""
    generator = np.random.default_rng([seed, list(FAMILIES).index(family)])
    return FAMILIES[family](family, generator)


def _models(generator: np.random.Generator) -> dict[str, float]:
    """One of the models is better than the present one by .02 to .05, the other is worse."""
    better = str(generator.choice(["small", "large"]))
    models = {"small": 0.03, "middle": 0.0, "large": 0.03}
    models[better] = -float(generator.uniform(0.02, 0.05))
    return models


def _optimum(generator: np.random.Generator) -> Point:
    """Two to three steps away from the start in each direction."""
    start = unit(START)
    steps = (1 / 9, 0.1 / 0.85, 0.2 / 1.5)
    away = generator.uniform(2.0, 3.2, 3) * generator.choice([-1, 1], 3, p=[0.25, 0.75])
    found = [min(max(at + far * step, 0.0), 1.0) for at, far, step in zip(start, away, steps, strict=True)]
    return found[0], found[1], found[2]


def _bowl(optimum: Point, steep: float) -> Shape:
    a, b, c = optimum
    return lambda x, y, z, window: steep * ((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2)


def bowl(family: str, generator: np.random.Generator) -> Surface:
    return Surface(family, _bowl(_optimum(generator), generator.uniform(0.28, 0.4)), _models(generator))


def turns_do_not_matter(family: str, generator: np.random.Generator) -> Surface:
    _, b, c = _optimum(generator)
    steep = generator.uniform(0.4, 0.6)
    return Surface(family, lambda x, y, z, window: steep * ((y - b) ** 2 + (z - c) ** 2), _models(generator))


def cheapest_is_best(family: str, generator: np.random.Generator) -> Surface:
    """Arguing longer makes it worse, and so does a warmer model."""
    slope, warm = generator.uniform(0.2, 0.28), generator.uniform(0.08, 0.14)
    return Surface(
        family,
        lambda x, y, z, window: slope * x + warm * z,
        {"small": -0.02, "middle": 0.0, "large": 0.03},
    )


def drift(family: str, generator: np.random.Generator) -> Surface:
    """The optimum wanders by two steps over the whole time, and jumps by two more in the middle."""
    a, b, c = _optimum(generator)
    steep = generator.uniform(0.28, 0.4)
    way = generator.choice([-1.0, 1.0], 3)
    jump = generator.choice([-1.0, 1.0], 3)

    def shape(x: Any, y: Any, z: Any, window: int) -> Any:
        share = window / WINDOWS
        moved = way * 0.2 * share + jump * 0.2 * (window >= WINDOWS // 2)
        return _bowl(tuple(np.clip(np.array([a, b, c]) + moved, 0.0, 1.0)), steep)(x, y, z, window)

    return Surface(family, shape, _models(generator), moves=True)


def heavy_noise(family: str, generator: np.random.Generator) -> Surface:
    """Warmer is noisier, with the tails of t with three degrees of freedom."""
    return Surface(
        family,
        _bowl(_optimum(generator), generator.uniform(0.28, 0.4)),
        _models(generator),
        scatter=lambda at: 0.08 + 0.16 * at[2],
        tails=3.0,
    )


def cliff(family: str, generator: np.random.Generator) -> Surface:
    """A bowl whose floor breaks off half a step behind the optimum, in temperature."""
    optimum = _optimum(generator)
    steep = generator.uniform(0.28, 0.4)
    inside = _bowl(optimum, steep)
    side = math.copysign(1.0, optimum[2] - unit(START)[2])
    edge = optimum[2] + side * 0.1 / 1.5

    def shape(x: Any, y: Any, z: Any, window: int) -> Any:
        return inside(x, y, z, window) + 0.25 * (side * (z - edge) > 0)

    return Surface(family, shape, _models(generator))


def flat(family: str, generator: np.random.Generator) -> Surface:
    return Surface(family, lambda x, y, z, window: 0.1, dict.fromkeys(MODELS, 0.0), costs=False)


def ridge(family: str, generator: np.random.Generator) -> Surface:
    """Turns and temperature only help together: steep across, gentle along."""
    far = generator.uniform(0.25, 0.38)
    start = unit(START)
    off = generator.uniform(0.05, 0.1) * generator.choice([-1.0, 1.0])
    across_at, along_at = start[0] - start[2] + off, start[0] + start[2] + 2 * far
    steep = generator.uniform(1.2, 1.8)

    def shape(x: Any, y: Any, z: Any, window: int) -> Any:
        return steep * (x - z - across_at) ** 2 + 0.25 * (x + z - along_at) ** 2

    return Surface(family, shape, _models(generator))


FAMILIES: dict[str, Callable[[str, np.random.Generator], Surface]] = {
    "bowl": bowl,
    "turns do not matter": turns_do_not_matter,
    "cheapest is best": cheapest_is_best,
    "drift and a jump": drift,
    "noise by settings": heavy_noise,
    "cliff": cliff,
    "flat": flat,
    "ridge": ridge,
}
