"""What settings.toml may say, and how a mistake in it is explained."""

import os
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configuration import InvalidSettings, Settings, Value
from configuration.team import TEAM

DEPTH = {"value": 3, "low": 1, "high": 9, "step": 2, "meaning": "pages looked at"}
TONE = {"value": "plain", "choices": ["plain", "formal"], "meaning": "how an essay is worded"}
ADA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
SHIPPED = Path(__file__).parent.parent / "settings.toml"


def shipped(**changed: Any) -> dict[str, Any]:
    """The values of the shipped file, some keys (`section__key`) set anew, or left out with `...`."""
    values = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
    for name, value in changed.items():
        section, _, key = name.partition("__")
        if value is ...:
            del values[section][key]
        else:
            values[section][key] = value
    return values


def refusal(values: object) -> str:
    with pytest.raises(InvalidSettings) as caught:
        Settings.parse(values)
    return str(caught.value)


def test_the_shipped_settings_are_valid() -> None:
    assert Settings.parse(shipped()).autopoiesis.max_turns == 4


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("system__max_concurrent_tasks", 1, 16),
        ("system__max_queued_tasks", 1, 500),
        ("models__temperature", 0.0, 1.5),
        ("models__max_answer_tokens", 32, 4096),
        ("models__max_concurrent_calls", 1, 64),
        ("autopoiesis__max_turns", 1, 10),
        ("autopoiesis__convergence_threshold", 0.05, 0.9),
        ("cadence__min_logs", 1, 100),
        ("cadence__window", 10, 120),
        ("optimizer__cost_weight", 0.0, 1.0),
        ("optimizer__token_budget", 100, 10_000_000),
        ("optimizer__trial_tasks", 0, 40),
        ("optimizer__trial_budget_tokens", 0, 100_000_000),
        ("optimizer__verify_blocks", 10, 200),
        ("optimizer__minimum_gain", 0.0, 0.5),
        ("optimizer__risk", 0.0, 1.0),
        ("models__call_timeout", "1ms", "3650d"),
        ("cadence__check_every", "1ms", "3650d"),
        ("governance__approval_timeout", "1ms", "3650d"),
    ],
)
def test_bounds_are_inclusive(key: str, low: Value, high: Value) -> None:
    for bound in (low, high):
        Settings.parse(shipped(**{key: bound}))


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("system__image_id", "two words", '[system] image_id = "two words": must match pattern'),
        ("system__max_concurrent_tasks", 0, "max_concurrent_tasks = 0: must be greater than or equal to 1"),
        ("system__max_queued_tasks", 501, "max_queued_tasks = 501: must be less than or equal to 500"),
        ("models__host", "localhost:11434", '[models] host = "localhost:11434": must match pattern'),
        ("models__brick", "", '[models] brick = "": must have at least 1 character'),
        ("models__robin", "a\nb", '[models] robin = "a\\nb": must match pattern'),
        ("models__robin", "é" * 121, "must have at most 120 characters"),
        ("models__temperature", 1.6, "[models] temperature = 1.6: must be less than or equal to 1.5"),
        ("models__temperature", float("nan"), "[models] temperature = NaN: must be a finite number"),
        ("models__temperature", True, "[models] temperature = true: must be a valid number"),
        ("autopoiesis__max_turns", 11, "[autopoiesis] max_turns = 11: must be less than or equal to 10"),
        ("autopoiesis__max_turns", True, "[autopoiesis] max_turns = true: must be a valid integer"),
        ("autopoiesis__max_turns", 3.0, "[autopoiesis] max_turns = 3.0: must be a valid integer"),
        ("autopoiesis__max_turns", "3", '[autopoiesis] max_turns = "3": must be a valid integer'),
        ("autopoiesis__max_turns", ..., "[autopoiesis] max_turns is missing"),
        ("autopoiesis__max_turn", 3, "[autopoiesis] max_turn is not a known key; remove it or correct"),
        ("optimizer__risk", 1.01, "[optimizer] risk = 1.01: must be less than or equal to 1"),
        ("optimizer__trial_tasks", 2.5, "[optimizer] trial_tasks = 2.5: must be a valid integer"),
        ("optimizer__judge", "a\nb", '[optimizer] judge = "a\\nb": must match pattern'),
        ("optimizer__judges", "", "[optimizer] judges is not a known key; remove it or correct"),
        ("cadence__window", 9, "[cadence]: window = 9 must be at least min_logs = 10"),
        ("cadence__check_every", 15, "check_every = 15: must be a duration such as"),
        ("cadence__check_every", "15", 'check_every = "15": must be a duration such as'),
        ("cadence__check_every", "0s", 'check_every = "0s": must be 1ms to 3650d long'),
        ("cadence__check_every", "-5m", 'check_every = "-5m": must be a duration such as'),
        ("cadence__check_every", "5mm", 'check_every = "5mm": must be a duration such as'),
        ("cadence__check_every", "1h and 5m", 'check_every = "1h and 5m": must be a duration such as'),
        ("governance__approval_timeout", "3651d", "must be 1ms to 3650d long"),
        ("governance__quorum", 0, "[governance] quorum = 0: must be greater than or equal to 1"),
        ("governance__approvers", ["ssh-rsa AAAA x"], 'approvers.0 = "ssh-rsa AAAA x": must be an Ed25519'),
        ("governance__approvers", [ADA[:60]], "is a broken key; copy the whole line again"),
        ("governance__approvers", ["ssh-ed25519 ?? x"], "is a broken key; copy the whole line again"),
        ("governance__approvers", [ADA, f"{ADA} again"], "[governance] approvers = "),
        ("governance__approvers", [ADA, f"{ADA} again"], ": has the same key twice"),
        ("governance__approvers", [f"{ADA} {'a' * 41}"], "must have a name of at most 40 characters"),
        ("governance__approval_timeout", f"{'9' * 400}d", "out of range"),
    ],
)
def test_a_refusal_names_the_key_its_value_and_what_is_allowed(key: str, value: Any, sentence: str) -> None:
    assert sentence in refusal(shipped(**{key: value}))


def test_who_decides_is_told_by_the_names_of_the_keys_and_is_no_value_that_anything_may_change() -> None:
    settings = Settings.parse(shipped(governance__approvers=[ADA]))
    assert settings.governance.who_decides() == "SHA256:bbXpuKG6zhzd"
    assert not {key for key in settings.flat() if key in ("governance.approvers", "governance.quorum")}
    assert settings.digest() != Settings.parse(shipped()).digest()
    before = shipped(governance__approvers=..., governance__quorum=...)
    assert Settings.parse(before).digest() == Settings.parse(shipped()).digest()
    told = refusal(shipped(governance__approvers=[ADA], governance__quorum=2))
    assert told == "[governance]: quorum = 2 must be at most the number of approvers, 1"


def test_every_broken_rule_is_told_at_once() -> None:
    told = refusal(shipped(autopoiesis__max_turns=99, cadence__check_every="soon"))
    assert "max_turns = 99" in told
    assert 'check_every = "soon"' in told


def test_a_missing_an_unknown_and_a_mistaken_section_are_told() -> None:
    values = shipped()
    del values["governance"]
    assert refusal(values) == "[governance] is missing"
    assert refusal(shipped() | {"extra": {}}).startswith("[extra] is not a known section; remove it")
    assert refusal(shipped() | {"cadence": 5}) == "[cadence] must be a section with keys of its own"


def test_a_whole_number_will_do_where_a_fraction_may_stand() -> None:
    assert Settings.parse(shipped(models__temperature=1)) == Settings.parse(shipped(models__temperature=1.0))


@settings(deadline=None)
@given(milliseconds=st.integers(1, 3650 * 86_400_000))
def test_a_duration_comes_back_unchanged_from_the_text_it_is_written_as(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    written = Settings.parse(shipped(cadence__check_every=f"{milliseconds}ms"))
    assert written.cadence.check_every == duration
    again = Settings.model_validate_json(written.model_dump_json())
    assert again == written
    assert again.digest() == written.digest()


def test_the_digest_names_the_values_and_not_how_they_are_written() -> None:
    present = Settings.parse(shipped())
    turned = {section: dict(reversed(keys.items())) for section, keys in reversed(shipped().items())}
    assert Settings.parse(turned).digest() == present.digest()
    assert Settings.parse(shipped(cadence__check_every="0.25h")).digest() == present.digest()
    assert Settings.parse(shipped(cadence__check_every="16m")).digest() != present.digest()


def test_a_key_that_was_added_later_changes_no_digest() -> None:
    before = shipped(models__context_tokens=...)
    assert Settings.parse(before).digest() == Settings.parse(shipped()).digest()
    assert Settings.parse(before).models.context_tokens == 16_384
    assert Settings.parse(shipped(models__context_tokens=8192)).digest() != Settings.parse(before).digest()


def test_the_optimizer_is_set_as_shipped_where_a_file_of_before_says_nothing_of_it() -> None:
    before = shipped()
    del before["optimizer"]
    assert Settings.parse(before) == Settings.parse(shipped())
    assert Settings.parse(before).digest() == Settings.parse(shipped()).digest()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"models__context_tokens": 4095}, "[models] context_tokens = 4095: "),
        ({"models__context_tokens": 2_000_000}, "[models] context_tokens = 2000000: "),
        (
            {"models__context_tokens": 5000, "models__max_answer_tokens": 4096},
            "context_tokens = 5000 must be at least twice max_answer_tokens = 4096",
        ),
    ],
)
def test_a_window_that_is_none_is_refused(changes: dict[str, int], expected: str) -> None:
    assert expected in refusal(shipped(**changes))


def test_the_digest_is_the_same_in_every_process() -> None:
    # Histories, logs and the names of backups hold it.
    program = (
        "import sys; from configuration import Settings; print(Settings.parse(eval(sys.argv[1])).digest())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program, repr(shipped())],
            cwd=SHIPPED.parent,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert told == {Settings.parse(shipped()).digest()}


NUMBERS = {
    "models.max_answer_tokens": (32, 4096, 128),
    "autopoiesis.max_turns": (1, 10, 1),
    "autopoiesis.convergence_threshold": (0.05, 0.9, 0.1),
    "memory.recall": (0, 10, 1),
    **{f"temperatures.{member.key}": (0.0, 1.5, 0.2) for member in TEAM},
}


def test_what_may_be_tuned_as_shipped_are_numbers_each_within_its_bounds() -> None:
    found = Settings.parse(shipped()).tunables()
    assert {key: (tunable.low, tunable.high, tunable.step) for key, tunable in found.items()} == NUMBERS
    assert all(tunable.key == key and tunable.meaning for key, tunable in found.items())
    assert {key for key, tunable in found.items() if tunable.kind == "integer"} == {
        *("models.max_answer_tokens", "autopoiesis.max_turns", "memory.recall")
    }


def test_the_heuristics_of_a_log_are_the_numbers_that_may_be_tuned() -> None:
    present = Settings.parse(shipped())
    common = {"models.temperature": 0.6}
    told = {key: value for key, value in present.flat().items() if key in NUMBERS}
    assert present.tuned() == told
    assert present.heuristics() == common | {key: told[key] for key in NUMBERS if "temperatures" not in key}
    noisy = present.with_changes({"models.temperature": 0.1 * 7, "temperatures.robin": 0.8})
    assert noisy.heuristics() == present.heuristics() | {"models.temperature": 0.7}
    more = Settings.parse(shipped(models__allowed=["gemma3:4b"]) | {"custom": {"depth": DEPTH, "tone": TONE}})
    assert more.heuristics() == present.heuristics()
    assert more.tuned() == told | {
        **{f"models.{member.key}": more.models.by_persona()[member.name] for member in TEAM},
        "custom.depth.value": 3,
        "custom.tone.value": "plain",
    }


def test_changes_are_checked_like_the_file_and_leave_the_rest_alone() -> None:
    present = Settings.parse(shipped())
    changed = present.with_changes({"autopoiesis.max_turns": 5})
    assert changed.flat() == present.flat() | {"autopoiesis.max_turns": 5}
    assert present.autopoiesis.max_turns == 4
    for key, value in (("autopoiesis.max_turns", 11), ("autopoiesis.turns", 5), ("autopoiesis", 5), ("", 1)):
        with pytest.raises(InvalidSettings):
            present.with_changes({key: value})
