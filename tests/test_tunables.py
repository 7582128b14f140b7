"""What may be tuned is declared in the settings model, and all that is told of it follows from there."""

import re
from typing import Any

import pytest
from pydantic import create_model

from configuration import InvalidSettings, Settings, Value, put
from configuration.sections import Section, tunable
from configuration.team import TEAM
from messages.calls import PersonaCall
from tests.repository import text_of
from tests.test_configuration import DEPTH, TONE, refusal, shipped

COMMON = "models.temperature"
TEMPERATURES = [f"temperatures.{member.key}" for member in TEAM]


def parsed(**changed: Any) -> Settings:
    return Settings.parse(shipped(**changed))


# --- one more key ---------------------------------------------------------------------------------


class Essays(Section):
    pages: int = tunable(1, 9, 2, "pages of an essay", default=3)


WithEssays = create_model("WithEssays", __base__=Settings, essays=(Essays, Essays()))


def test_one_more_key_is_declared_in_one_place() -> None:
    before, now = parsed(), WithEssays.parse(shipped())
    assert now.digest() == before.digest()
    assert now.tunables().keys() - before.tunables().keys() == {"essays.pages"}
    added = now.tunables()["essays.pages"]
    assert (added.kind, added.low, added.high, added.step) == ("integer", 1, 9, 2)
    assert added.meaning == "pages of an essay"
    assert now.heuristics() == before.heuristics() | {"essays.pages": 3}
    more = WithEssays.parse(shipped() | {"essays": {"pages": 5}})
    assert more == now.with_changes({"essays.pages": 5})
    assert now.changes_to(more) == {"essays.pages": (3, 5)}
    with pytest.raises(InvalidSettings, match=r"^\[essays\] pages = 10: must be less than or equal to 9$"):
        now.with_changes({"essays.pages": 10})


def test_settings_toml_explains_every_key_and_says_which_may_be_tuned() -> None:
    explained: dict[str, str] = {}
    section, words, going_on = "", "", False
    for line in text_of("settings.toml").splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section, words = found[1], ""
        elif found := re.fullmatch(r"(?:# )?(\w+) = .*", line):
            explained.setdefault(f"{section}.{found[1]}", words)
            going_on = False
        elif line.startswith("#"):
            words, going_on = words * going_on + line, True
    present = parsed()
    assert present.flat().keys() <= explained.keys()
    for key in ("models.allowed", "governance.approvers", "governance.quorum", *present.flat()):
        assert explained[key], key
        assert ("tunable, steps of" in explained[key]) == (key in present.tunables()), key


# --- a temperature for each persona ---------------------------------------------------------------


def test_a_persona_without_a_temperature_of_its_own_has_the_common_one() -> None:
    settings = Settings.parse(shipped(models__temperature=0.9) | {"temperatures": {"robin": 0.2}})
    assert settings.temperatures.by_persona() == {"ALFRED": 0.9, "BABS": 0.9, "BRICK": 0.9, "ROBIN": 0.2}
    assert PersonaCall.under(settings, "ROBIN", "antithesis", {}).temperature == 0.2
    assert PersonaCall.under(settings, "BRICK", "thesis_first", {}).temperature == 0.9


def test_settings_of_before_read_from_a_history_have_them_too() -> None:
    before = parsed().model_dump(mode="json")
    for section in ("temperatures", "custom", "optimizer"):
        del before[section]
    del before["models"]["allowed"]
    assert Settings.model_validate(before) == parsed()


@pytest.mark.parametrize(("common", "digest"), [(0.6, "21a8e3f6e43b"), (0.8, "247b1735e763")])
def test_the_digest_is_that_of_version_0_2_0_while_all_have_the_common_temperature(
    common: float, digest: str
) -> None:
    # Computed by that version of its own settings.toml, and of one with another temperature.
    before = shipped(models__temperature=common, models__allowed=...)
    for section in ("temperatures", "optimizer"):
        del before[section]
    told_apart = before | {"temperatures": {member.key: common for member in TEAM}}
    assert {Settings.parse(values).digest() for values in (before, told_apart)} == {digest}
    assert Settings.parse(before | {"temperatures": {"robin": 0.1}}).digest() != digest


def test_who_has_the_common_temperature_goes_with_it_and_is_not_told_apart() -> None:
    before = parsed().with_changes({"temperatures.robin": 0.2})
    after = before.with_changes({COMMON: 0.9})
    assert after.temperatures.by_persona() == {"ALFRED": 0.9, "BABS": 0.9, "BRICK": 0.9, "ROBIN": 0.2}
    assert before.changes_to(after) == {COMMON: (0.6, 0.9)}
    assert parsed().changes_to(before) == {"temperatures.robin": (0.6, 0.2)}
    assert before.with_changes({"temperatures.robin": 0.6}) == parsed()


@pytest.mark.parametrize(
    ("temperatures", "told"),
    [
        (5, "[temperatures] must be a section with keys of its own"),
        ({"robin": 1.6}, "[temperatures] robin = 1.6: must be less than or equal to 1.5"),
        ({"robin": True}, "[temperatures] robin = true: must be a valid number"),
        ({"clara": 0.5}, "[temperatures] clara is not a known key; remove it or correct its spelling"),
    ],
)
def test_a_wrong_temperature_is_told(temperatures: Any, told: str) -> None:
    assert refusal(shipped() | {"temperatures": temperatures}) == told


def test_a_wrong_common_temperature_is_told_once() -> None:
    assert refusal(shipped(models__temperature=1.6)) == (
        "[models] temperature = 1.6: must be less than or equal to 1.5"
    )


# --- a choice of models ---------------------------------------------------------------------------


def test_a_model_may_be_tuned_where_a_person_allows_others_and_among_these() -> None:
    assert not any(
        key.startswith("models.") and key != "models.max_answer_tokens" for key in parsed().tunables()
    )
    found = parsed(models__allowed=["gemma3:4b", "llama3.1:8b"]).tunables()
    assert {key: tunable.choices for key, tunable in found.items() if tunable.kind == "choice"} == {
        "models.alfred": ("gemma3:4b", "llama3.1:8b", "qwen2.5:7b"),
        "models.babs": ("gemma3:4b", "llama3.1:8b", "qwen2.5:7b"),
        "models.brick": ("gemma3:4b", "llama3.1:8b", "qwen2.5:7b"),
        "models.robin": ("gemma3:4b", "llama3.1:8b"),
    }


@pytest.mark.parametrize(
    ("allowed", "told"),
    [
        ("gemma3:4b", '[models] allowed = "gemma3:4b": must be a valid list'),
        (["two words"], '[models] allowed.0 = "two words": must match pattern'),
        (["m"] * 9, "must have at most 8 items"),
    ],
)
def test_a_wrong_list_of_models_is_told(allowed: Any, told: str) -> None:
    assert told in refusal(shipped(models__allowed=allowed))


def test_the_rules_across_keys_hold_for_what_is_tuned() -> None:
    tight = parsed(models__context_tokens=4096, models__max_answer_tokens=2048)
    with pytest.raises(InvalidSettings, match="must be at least twice max_answer_tokens = 2176"):
        tight.with_changes({"models.max_answer_tokens": 2176})


# --- a person's own -------------------------------------------------------------------------------


def own(**named: Any) -> Settings:
    return Settings.parse(shipped() | {"custom": named})


def test_a_number_and_a_word_of_a_persons_own_may_be_tuned_and_only_their_values() -> None:
    settings = own(depth=DEPTH, rate=DEPTH | {"low": 0.5, "value": 1}, tone=TONE)
    added = {key: each for key, each in settings.tunables().items() if key not in parsed().tunables()}
    assert {key: (each.kind, each.low, each.high, each.step) for key, each in added.items()} == {
        "custom.depth.value": ("integer", 1, 9, 2),
        "custom.rate.value": ("number", 0.5, 9, 2),
        "custom.tone.value": ("choice", 0, 0, 0),
    }
    assert (added["custom.tone.value"].choices, added["custom.tone.value"].meaning) == (
        ("plain", "formal"),
        "how an essay is worded",
    )
    assert settings.flat().keys() - parsed().flat().keys() == added.keys()
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_a_value_of_a_persons_own_is_changed_by_its_dotted_key_and_stays_whole() -> None:
    before = own(depth=DEPTH, tone=TONE)
    after = before.with_changes({"custom.depth.value": 5, "custom.tone.value": "formal"})
    assert before.changes_to(after) == {
        "custom.depth.value": (3, 5),
        "custom.tone.value": ("plain", "formal"),
    }
    assert after.digest() != before.digest()
    assert after == own(depth=DEPTH | {"value": 5}, tone=TONE | {"value": "formal"})
    wrong: dict[str, Value] = {
        "custom.depth.value": 5.0,
        "custom.tone.value": "rude",
        "custom.depth.high": 99,
    }
    for key, value in wrong.items():
        with pytest.raises(InvalidSettings):
            before.with_changes({key: value})


def test_an_empty_custom_section_changes_nothing() -> None:
    assert own().digest() == parsed().digest()
    assert own().flat() == parsed().flat()


def test_what_is_declared_anew_is_named() -> None:
    before = own(depth=DEPTH, tone=TONE)
    assert before.declared_anew(before.with_changes({"custom.depth.value": 5})) == []
    assert before.declared_anew(own(depth=DEPTH | {"high": 8})) == ["custom.depth", "custom.tone"]
    assert parsed().declared_anew(parsed(models__allowed=["gemma3:4b"])) == ["models.allowed"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"value": 10}, "[custom.depth]: value = 10 must be a number from 1 to 9"),
        ({"value": 3.5}, "[custom.depth]: value = 3.5 must be a whole number, as low, high and step are"),
        ({"value": "deep"}, '[custom.depth]: value = "deep" must be a number from 1 to 9'),
        ({"value": True}, "[custom.depth] value = true: must be a number, or one of the words in choices"),
        ({"value": [3]}, "[custom.depth] value = [3]: must be a number, or one of the words in choices"),
        ({"high": float("inf")}, "[custom.depth] high = Infinity: must be a number of at most 1000000000000"),
        ({"high": "9"}, '[custom.depth] high = "9": must be a number'),
        (
            {"high": 1},
            "[custom.depth]: low must be below high, and step greater than 0 and at most high - low",
        ),
        (
            {"step": 0},
            "[custom.depth]: low must be below high, and step greater than 0 and at most high - low",
        ),
        ({"step": ...}, "[custom.depth]: needs low, high and step (numbers), or choices (words)"),
        ({"meaning": ...}, "[custom.depth] meaning is missing"),
        ({"meaning": ""}, '[custom.depth] meaning = "": must match pattern'),
        ({"steps": 1}, "[custom.depth] steps is not a known key; remove it or correct its spelling"),
        (
            {"choices": ["a", "b"]},
            "[custom.depth]: has choices, which are for words, and low, high, step, for",
        ),
        ({"choices": ["a"]}, '[custom.depth] choices = ["a"]: must have at least 2 items'),
        ({"choices": ["a", 1]}, "[custom.depth] choices.1 = 1: must be a valid string"),
    ],
)
def test_a_wrong_declaration_is_told_by_its_section_its_key_and_what_is_allowed(
    changed: dict[str, Any], told: str
) -> None:
    depth = {key: value for key, value in (DEPTH | changed).items() if value is not ...}
    assert told in refusal(shipped() | {"custom": {"depth": depth}})


@pytest.mark.parametrize(
    ("custom", "told"),
    [
        (5, "[custom] must be a section with keys of its own"),
        ({"depth": 5}, "[custom.depth] must be a section with keys of its own"),
        ({"Two words": DEPTH}, '[custom]: "Two words" is no name: use at most 32 of a to z, 0 to 9 and _'),
        ({"tone": TONE | {"value": "rude"}}, '[custom.tone]: value = "rude" must be one of plain, formal'),
        ({"tone": TONE | {"choices": ["plain", "plain"]}}, "choices must differ from each other"),
        ({f"n{number}": DEPTH for number in range(17)}, "[custom]: 17 names; at most 16 are allowed"),
        (
            {f"n{number}": DEPTH | {"meaning": "m" * 120} for number in range(12)},
            "bytes of JSON; at most 2,048 are allowed",
        ),
    ],
)
def test_a_wrong_custom_section_is_told(custom: Any, told: str) -> None:
    assert told in refusal(shipped() | {"custom": custom})


def test_a_dotted_key_is_put_where_it_belongs_and_missing_sections_are_added() -> None:
    values: dict[str, Any] = {"custom": {"depth": {"value": 3}}}
    put(values, "custom.depth.value", 5)
    put(values, "temperatures.robin", 0.7)
    assert values == {"custom": {"depth": {"value": 5}}, "temperatures": {"robin": 0.7}}
