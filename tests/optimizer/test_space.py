"""Steps in the space of tunables: whatever is asked for, bounds and steps are never left."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from configuration import Tunable, Value
from optimizer.space import MOST_KEYS, Space

SPACE = Space(
    [
        Tunable(key="a.turns", kind="integer", meaning="", low=1, high=10, step=1),
        Tunable(key="a.many", kind="integer", meaning="", low=100, high=4000, step=150),
        Tunable(key="b.warm", kind="number", meaning="", low=0.0, high=1.5, step=0.2),
        Tunable(key="c.model", kind="choice", meaning="", choices=("small", "large", "other")),
    ]
)
PRESENT = st.fixed_dictionaries(
    {
        "a.turns": st.integers(1, 10),
        "a.many": st.integers(100, 4000),
        "b.warm": st.floats(0.0, 1.5),
        "c.model": st.sampled_from(("small", "large", "other", "one that was a choice once")),
    }
)
ASKED = st.dictionaries(
    st.sampled_from((*SPACE.tunables, "governance.approval_timeout", "optimizer.risk", "")),
    st.one_of(
        st.booleans(), st.integers(-10, 5000), st.floats(-3, 3), st.sampled_from(("small", "huge", ""))
    ),
    max_size=4,
)


def keeps_to_the_rules(values: dict[str, Value], present: dict[str, Value], steps: int = 1) -> bool:
    for key, value in values.items():
        tunable, now = SPACE.tunables[key], present[key]
        if tunable.kind == "choice":
            assert value in tunable.choices
            continue
        assert not isinstance(value, bool | str)
        assert not isinstance(now, bool | str)
        assert isinstance(value, int) or tunable.kind == "number"
        assert tunable.low <= value <= tunable.high
        assert abs(value - now) <= steps * tunable.step + 1e-5  # rounded to six decimals
        assert value != now
    return 0 < len(values) <= MOST_KEYS


@given(PRESENT)
def test_every_step_keeps_to_bounds_step_and_two_keys(present: dict[str, Value]) -> None:
    steps = SPACE.steps(present)
    assert steps
    assert all(keeps_to_the_rules(values, present) for values in steps)
    assert len({repr(values) for values in steps}) == len(steps)


@given(PRESENT, st.integers(1, 20))
def test_what_is_only_tried_keeps_to_bounds_and_so_many_steps(present: dict[str, Value], far: int) -> None:
    for key, values in SPACE.moves(present, far).items():
        assert values
        assert all(keeps_to_the_rules({key: value}, present, far) for value in values)
        assert {*SPACE.moves(present)[key]} <= {*values}


@given(PRESENT, ASKED)
def test_what_is_asked_for_is_a_step_or_nothing(present: dict[str, Value], asked: dict[str, Value]) -> None:
    found = SPACE.changed(asked, present)
    assert found is None or keeps_to_the_rules(found, present)


@given(PRESENT)
def test_every_step_may_be_asked_for(present: dict[str, Value]) -> None:
    assert all(SPACE.changed(values, present) == values for values in SPACE.steps(present))


def test_half_and_whole_steps_in_both_directions() -> None:
    present: dict[str, Value] = {"a.turns": 4, "a.many": 1000, "b.warm": 0.6, "c.model": "small"}
    single = [values for values in SPACE.steps(present) if len(values) == 1]
    assert [values["b.warm"] for values in single if "b.warm" in values] == [0.4, 0.5, 0.7, 0.8]
    assert [values["a.turns"] for values in single if "a.turns" in values] == [3, 5]
    assert [values["a.many"] for values in single if "a.many" in values] == [850, 925, 1075, 1150]
    assert [values["c.model"] for values in single if "c.model" in values] == ["large", "other"]


def test_what_is_said_again_and_not_changed_does_not_count() -> None:
    present: dict[str, Value] = {"a.turns": 4, "a.many": 1000, "b.warm": 0.6, "c.model": "small"}
    assert SPACE.changed({**present, "a.turns": 5}, present) == {"a.turns": 5}
    assert SPACE.changed(present, present) is None


def test_words_are_as_far_apart_as_makes_their_correlation_one_half() -> None:
    present: dict[str, Value] = {"a.turns": 4, "a.many": 1000, "b.warm": 0.6, "c.model": "small"}
    one, other = SPACE.encode([present, {"c.model": "large"}], present)
    far = math.sqrt(5) * float(np.linalg.norm(one - other)) / 0.5
    assert abs((1 + far + far**2 / 3) * math.exp(-far) - 0.5) < 0.002


def test_rows_of_narrower_bounds_stay_in_the_cube() -> None:
    present: dict[str, Value] = {"a.turns": 4, "a.many": 1000, "b.warm": 0.6, "c.model": "small"}
    points = SPACE.encode([{"a.turns": 40, "b.warm": -1.0}], present)
    assert points.min() >= 0
    assert points.max() <= 1
