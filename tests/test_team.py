"""One more persona in a copy of the team is found wherever the team counts."""

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, create_model

from activities.prompts import PROMPTS, Prompts, required_entries
from configuration import InvalidSettings, Settings, models_of, temperatures_of
from configuration.team import TEAM, Member
from connection.problems import Problem
from desk.doctor.finding import Patient
from desk.doctor.model_checks import persona_models
from testbed.fake_ollama import FakeOllama
from tests.test_configuration import shipped

CLARA = Member("CLARA", "the archivist", ("footnote",))
LARGER = (*TEAM, CLARA)
LargerSettings = create_model(
    "LargerSettings",
    __base__=Settings,
    models=models_of(LARGER),
    temperatures=(temperatures_of(LARGER), Field({}, validate_default=True)),
)


def settings(**changed: Any) -> Settings:
    return LargerSettings.parse(shipped(models__clara="archive:1b", **changed))


def test_its_model_is_a_key_of_the_settings_after_those_of_the_others() -> None:
    added = list(settings().flat())
    assert added.index("models.clara") == added.index("models.robin") + 1
    assert added.index("temperatures.clara") == added.index("temperatures.robin") + 1
    added = [key for key in added if not key.endswith(".clara")]
    assert added == list(Settings.parse(shipped()).flat())
    assert settings().models.by_persona()["CLARA"] == "archive:1b"


def test_its_temperature_and_where_there_is_a_choice_its_model_may_be_tuned() -> None:
    found = settings(models__allowed=["archive:7b"]).tunables()
    added = {key: tunable for key, tunable in found.items() if key.endswith(".clara")}
    assert {key: tunable.choices for key, tunable in added.items()} == {
        "temperatures.clara": (),
        "models.clara": ("archive:7b", "archive:1b"),
    }
    assert settings(models__temperature=0.9).temperatures.by_persona()["CLARA"] == 0.9


def test_a_file_without_its_key_and_a_team_without_it_are_told() -> None:
    with pytest.raises(InvalidSettings, match=r"^\[models\] clara is missing$"):
        LargerSettings.parse(shipped())
    with pytest.raises(InvalidSettings, match=r"^\[models\] clara is not a known key; remove it or correct"):
        Settings.parse(shipped(models__clara="archive:1b"))


def test_one_who_joins_with_a_model_speaks_under_settings_of_before_and_changes_no_digest() -> None:
    joined = create_model(
        "Joined", __base__=Settings, models=models_of((*TEAM, CLARA._replace(model="archive:1b")))
    )
    before = Settings.parse(shipped())
    now = joined.parse(before.model_dump(mode="json"))
    assert (now.models.by_persona()["CLARA"], now.digest()) == ("archive:1b", before.digest())


def test_its_words_are_missed_in_the_prompts_that_lack_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert required_entries(LARGER).keys() - required_entries().keys() == {"footnote"}
    shipped_prompts = PROMPTS.read_text(encoding="utf-8")
    path = tmp_path / "prompts.toml"
    path.write_text(shipped_prompts, encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        for team in (TEAM, LARGER):
            Prompts(path, team).messages("plan", {"task": "tea"})
        path.write_text(f"{shipped_prompts}\n[footnote]\nuser = 'Cite {{task}}'\n", encoding="utf-8")
        Prompts(path, LARGER).messages("plan", {"task": "tea"})
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"{path} has no entry [footnote]; CLARA, the archivist, cannot speak without it.",
    ]


async def test_the_doctor_asks_whether_its_model_is_there(ollama: FakeOllama, tmp_path: Path) -> None:
    ollama.script.models = ["qwen2.5:7b", "llama3.1:8b"]
    patient = Patient(tmp_path, tmp_path, Problem("no server"), settings(models__host=ollama.url))
    *others, clara = await persona_models(patient)
    assert [finding.state for finding in others] == ["ok", "ok"]
    assert (clara.check, clara.state) == ("model archive:1b", "broken")
    assert clara.figure == f"not at {ollama.url}; CLARA cannot speak"
