"""The Gaussian processes: known functions are found again, and what is no effect is not taken for one."""

import numpy as np
import pytest

from configuration import Tunable, Value
from messages.trials import Moments, Observation
from optimizer.goals import Goals
from optimizer.space import Space, Values
from optimizer.surrogate import MOST_ROWS, SettingsKernel, Surrogate
from optimizer.task_types import corrected_mean, type_effects

SPACE = Space(
    [
        Tunable(key="warm", kind="number", meaning="", low=0.0, high=1.0, step=0.2),
        Tunable(key="turns", kind="integer", meaning="", low=1, high=10, step=1),
        Tunable(key="model", kind="choice", meaning="", choices=("small", "large")),
    ]
)
PRESENT: Values = {"warm": 0.5, "turns": 4, "model": "small"}
GOALS = Goals()


def moments(mean: float, n: int = 40, sd: float = 0.15) -> Moments:
    return Moments(n=n, mean=mean, m2=(n - 1) * sd * sd)


def row(
    values: dict[str, Value], dissonance: float, batch: int = 0, n: int = 40, **told: object
) -> Observation:
    return Observation.model_validate(
        {
            "digest": "",
            "batch": batch,
            "values": PRESENT | values,
            "dissonance": {"question": moments(dissonance, n)},
            "tokens": {"question": moments(5000, n, 500)},
            **told,
        }
    )


def gain(
    observations: list[Observation], values: dict[str, Value], conditions: str = ""
) -> tuple[float, float]:
    surrogate = Surrogate(SPACE, GOALS, PRESENT, observations, conditions=conditions)
    mean, covariance = surrogate.gains([values])
    return float(mean[0]), float(np.sqrt(covariance[0, 0]))


def test_a_known_function_is_found_again() -> None:
    generator = np.random.default_rng(0)
    told = []
    for batch in range(60):
        warm, turns = float(generator.random()), int(generator.integers(1, 11))
        told.append(row({"warm": warm, "turns": turns}, 0.2 + 0.4 * (warm - 0.7) ** 2, batch, n=400))
    mean, sd = gain(told, {"warm": 0.7})
    assert mean == pytest.approx(0.016, abs=0.012)
    assert sd < 0.02
    assert abs(gain(told, {"turns": 5})[0]) < 0.01


def test_nothing_known_beside_the_present_means_no_gain_expected() -> None:
    mean, sd = gain([row({}, 0.5)], {"warm": 0.7})
    assert abs(mean) < 0.005
    assert sd > 0.02


def test_a_worse_batch_is_no_effect_of_the_settings() -> None:
    """All of a batch was harder: the candidate in it is as good as the present settings beside it."""
    apart = [row({}, 0.3, batch=0), row({"warm": 0.7}, 0.4, batch=1)]
    together = [*apart, row({}, 0.4, batch=1)]
    assert gain(apart, {"warm": 0.7})[0] < 2 * gain(together, {"warm": 0.7})[0] < 0


def test_other_prompts_are_no_effect_of_the_settings() -> None:
    edited = [row({}, 0.5, 0, conditions="old"), row({"warm": 0.7}, 0.3, 1, conditions="new")]
    same = [row({}, 0.5, 0, conditions="new"), row({"warm": 0.7}, 0.3, 1, conditions="new")]
    assert abs(gain(edited, {"warm": 0.7}, "new")[0]) < 0.5 * gain(same, {"warm": 0.7}, "new")[0]
    assert gain(edited, {"warm": 0.7}, "new")[1] > gain(same, {"warm": 0.7}, "new")[1]


def test_the_same_tasks_in_both_arms_tell_more() -> None:
    arms = [row({}, 0.5, 1, n=4), row({"warm": 0.7}, 0.3, 1, n=4)]
    paired = [one.model_copy(update={"paired": True}) for one in arms]
    assert gain(paired, {"warm": 0.7})[0] > gain(arms, {"warm": 0.7})[0] > 0
    assert gain(paired, {"warm": 0.7})[1] < gain(arms, {"warm": 0.7})[1]


def test_what_is_cheaper_is_better_where_nothing_else_differs() -> None:
    told = [
        row({"turns": turns}, 0.3, turns, tokens={"question": moments(2000 * turns, 40, 100)})
        for turns in (2, 4, 6)
    ]
    assert gain(told, {"turns": 3})[0] == pytest.approx(GOALS.price(2000), rel=0.5)


def test_an_easier_mix_of_tasks_is_no_better_settings() -> None:
    def mixed(level: float, easy: int) -> dict[str, Moments]:
        return {"code": moments(level - 0.1, easy), "essay": moments(level + 0.1, 40 - easy)}

    told = [mixed(0.4, easy) for easy in (10, 20, 30, 35)]
    effects = type_effects(told)
    assert effects["essay"] - effects["code"] == pytest.approx(0.2, abs=0.04)
    levels = [corrected_mean(one, effects) for one in told]
    assert max(levels) - min(levels) < 0.02
    assert type_effects([{"code": moments(0.3)}, {"essay": moments(0.5)}]) == {}


def test_rows_that_measured_nothing_count_for_nothing_and_old_ones_are_left_out() -> None:
    empty = Observation(digest="", batch=9, values=PRESENT)
    assert gain([row({}, 0.5), empty], {"warm": 0.7}) == gain([row({}, 0.5)], {"warm": 0.7})
    newest = [row({"warm": 0.7}, 0.4, batch) for batch in range(1, MOST_ROWS + 1)]
    assert gain([row({}, 0.0), *newest], {"warm": 0.7}) == gain(newest, {"warm": 0.7})


def test_rows_share_what_they_have_in_common_and_new_points_do_not() -> None:
    generator = np.random.default_rng(2)
    points = generator.random((8, len(SPACE.keys)))
    rows, new = (np.column_stack([points, number]) for number in (np.arange(8), np.full(8, -1)))
    kernel = SettingsKernel(np.full(3, 0.5), 0.7, SPACE.keys, 0.1 * np.eye(8))
    assert kernel(rows) - kernel(new) == pytest.approx(0.1 * np.eye(8))
    assert kernel(rows, new) == pytest.approx(kernel(new))
    assert kernel.diag(rows) == pytest.approx(kernel(rows).diagonal())
    assert kernel.diag(new) == pytest.approx(kernel(new).diagonal())
    assert min(kernel.diag(new)) >= 0.7


def test_a_curvature_along_one_number_tells_of_the_same_along_another() -> None:
    """With lengths of next to nothing all that points have in common is the trend."""
    kernel = SettingsKernel(np.full(3, 1e-3), 0.7, SPACE.keys, np.zeros((6, 6)))
    along_warm = np.array([[0.0, 0.3, 0, 0, -1], [0.5, 0.3, 0, 0, -1], [1.0, 0.3, 0, 0, -1]])
    along_turns = np.array([[0.6, 0.0, 0, 0, -1], [0.6, 0.5, 0, 0, -1], [0.6, 1.0, 0, 0, -1]])
    bend = np.array([1.0, -2.0, 1.0])
    common = bend @ kernel(along_warm, along_turns) @ bend
    at_other_turns = along_warm + np.array([0, 0.1, 0, 0, 0])
    own = bend @ kernel(along_warm, at_other_turns) @ bend
    assert own > common > 0
    # A word is no place between bounds.
    words = np.array([[0.5, 0.3, 0.4, 0, -1], [0.5, 0.3, 0, 0.4, -1]])
    first, second = kernel(along_warm[:1], words)[0]
    assert first == pytest.approx(second)


def test_flat_data_make_it_expect_less_of_the_settings() -> None:
    generator = np.random.default_rng(4)
    rough, flat = (
        [
            row({"warm": float(warm)}, 0.4 + height * (warm > 0.5), batch, n=400)
            for batch, warm in enumerate(told)
        ]
        for height, told in ((0.3, generator.random(30)), (0.0, generator.random(30)))
    )
    assert gain(flat, {"turns": 5})[1] < gain(rough, {"turns": 5})[1]


def test_the_kernels_gradient_is_that_of_its_finite_differences() -> None:
    generator = np.random.default_rng(3)
    rows = np.column_stack([generator.random((6, len(SPACE.keys))), np.arange(6)])
    kernel = SettingsKernel(np.array([0.3, 0.5, 1.2]), 0.7, SPACE.keys, 0.1 * np.eye(6))
    _, gradient = kernel(rows, eval_gradient=True)
    for number, step in enumerate(1e-5 * np.eye(len(kernel.theta))):
        ahead, behind = (kernel.clone_with_theta(kernel.theta + way * step)(rows) for way in (1, -1))
        assert gradient[..., number] == pytest.approx((ahead - behind) / 2e-5, abs=1e-7)
