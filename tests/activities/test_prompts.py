"""prompts.toml: every entry is usable, what people type comes through verbatim, mistakes are named."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.prompts import PROMPTS, BrokenPrompts, Prompts, fill, required_entries

# What each entry is handed.
PLACEHOLDERS = {
    "plan": {"task"},
    "research": {"task", "plan", "memory"},
    "thesis_first": {"task", "plan", "research"},
    "thesis_reply": {"task", "plan", "research", "thesis", "antithesis"},
    "antithesis": {"task", "thesis"},
    "dissonance": {"task", "thesis", "antithesis"},
    "synthesis": {"task", "plan", "thesis", "antithesis", "agreement"},
    "goals": {"who", "reason", "recent"},
    "goal_scores": {"who", "goals"},
    "single": {"task"},
    "candidates": {"keys", "past", "top"},
    "compare": {"task", "first", "second"},
}
APART = ("dissonance", "single", "compare")
ARGUING = [entry for entry, names in PLACEHOLDERS.items() if "task" in names and entry not in APART]


@pytest.mark.parametrize(("entry", "names"), PLACEHOLDERS.items())
def test_every_entry_that_is_shipped_can_be_filled(entry: str, names: set[str]) -> None:
    messages = Prompts().messages(entry, {name: f"<{name}>" for name in names})
    assert [message["role"] for message in messages] == ["system", "user"]
    told = "".join(message["content"] for message in messages)
    # After the first thesis, what it was built on is not told again.
    assert {name for name in names if f"<{name}>" not in told} <= {"plan", "research"}


def test_the_shipped_file_has_the_entries_of_the_team_and_no_others() -> None:
    entries = tomllib.loads(PROMPTS.read_text("utf-8")).keys() - {"system"}
    assert entries == required_entries().keys() == PLACEHOLDERS.keys()


def test_an_entry_without_a_system_text_has_the_one_before_all_entries(tmp_path: Path) -> None:
    path = tmp_path / "prompts.toml"
    path.write_text("system = 'All.'\n[one]\nuser = 'First'\n[two]\nsystem = 'Own.'\nuser = 'Second'\n")
    prompts = Prompts(path)
    assert prompts.messages("one", {})[0]["content"] == "All."
    assert prompts.messages("two", {})[0]["content"] == "Own."


def test_what_the_arguing_personas_are_told_begins_alike() -> None:
    """A model server reads what prompts begin with only once: here as far as the task, or the thesis."""

    def beginning(entry: str, placeholder: str) -> str:
        fields = {name: f"<{name}>" for name in PLACEHOLDERS[entry]}
        told = "".join(message["content"] for message in Prompts().messages(entry, fields))
        assert placeholder in told
        return told.partition(placeholder)[0]

    assert len({beginning(entry, "<task>") for entry in ARGUING}) == 1
    assert len({beginning(entry, "<thesis>") for entry in ("thesis_reply", "antithesis", "synthesis")}) == 1


@given(task=st.text(), thesis=st.text())
def test_whatever_people_type_comes_through_verbatim(task: str, thesis: str) -> None:
    assert fill("A: {task} B: {thesis} C: {task}", {"task": task, "thesis": thesis}) == (
        f"A: {task} B: {thesis} C: {task}"
    )


@pytest.mark.parametrize(
    "typed", ["{thesis}", "{task}", "${task}", "$task", "{0}", "{", "}}", r"\1 \g<0>", "%s"]
)
def test_placeholders_that_people_type_are_not_filled_in_again(typed: str) -> None:
    assert fill("[{task}] [{thesis}]", {"task": typed, "thesis": "other"}) == f"[{typed}] [other]"


def test_braces_around_anything_but_a_name_are_ordinary_text() -> None:
    text = 'Answer {"label": "same"} or {} or { task } or {Task} or {1}.'
    assert fill(text, {"task": "never used"}) == text


def test_an_edit_is_used_by_the_next_call(tmp_path: Path) -> None:
    path = tmp_path / "prompts.toml"
    prompts = Prompts(path)
    path.write_text("[plan]\nsystem = 'You plan.'\nuser = 'Plan {task}'\n")
    assert prompts.messages("plan", {"task": "tea"})[1]["content"] == "Plan tea"
    path.write_text("[plan]\nsystem = 'You plan.'\nuser = 'Plan well: {task}'\n")
    assert prompts.messages("plan", {"task": "tea"})[1]["content"] == "Plan well: tea"


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "prompts.toml"
    path.write_bytes(b"\xef\xbb\xbf[plan]\r\nsystem = 'You plan.'\r\nuser = 'Plan {task}'\r\n")
    assert Prompts(path).messages("plan", {"task": "tea"})[1]["content"] == "Plan tea"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[plan", "is not TOML"),
        ("plan = " + "[" * 100_000, "is nested too deeply"),
        (b"\xff\xfe", "is not TOML"),
        ("[research]\nsystem = 'a'\nuser = 'b'\n", "has no entry [plan]"),
        ("[plan]\nsystem = 'a'\n", "plan.user: Field required"),
        ("[plan]\nsystem = 'a'\nuser = '  '\n", "plan.user: String should have at least 1 character"),
        ("[plan]\nsystem = 'a'\nuser = 'b'\nusre = 'c'\n", "plan.usre: Extra inputs are not permitted"),
        ("[plan]\nsystem = 'a'\nuser = 'Do {tsak}'\n", "entry [plan], user: {tsak} is not one of {task}"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(tmp_path: Path, text: str | bytes, what: str) -> None:
    path = tmp_path / "prompts.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BrokenPrompts) as broken:
        Prompts(path).messages("plan", {"task": "tea"})
    assert str(path) in str(broken.value)
    assert what in str(broken.value)


def test_research_of_before_there_was_a_memory_can_still_be_filled() -> None:
    fields = {"task": "<task>", "plan": "<plan>"}
    assert "{memory}" not in Prompts().messages("research", fields)[1]["content"]


def test_a_file_that_knows_no_memory_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "prompts.toml"
    path.write_text("[research]\nsystem = 'You look up.'\nuser = 'Look up {task}'\n")
    messages = Prompts(path).messages("research", {"task": "tea", "plan": "p", "memory": "{task}"})
    assert messages[1]["content"] == "Look up tea"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenPrompts, match=r"nowhere\.toml cannot be read"):
        Prompts(tmp_path / "nowhere.toml").messages("plan", {"task": "tea"})


@pytest.mark.parametrize("text", [f"x = {'[' * 5_000}{']' * 5_000}", f"[{'k' * 500_000}]\nsystem = 1\n"])
def test_a_file_of_any_depth_or_length_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "prompts.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BrokenPrompts, match=r"prompts\.toml"):
        Prompts(tmp_path / "prompts.toml").messages("plan", {})
