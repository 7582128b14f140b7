"""All that may be tuned is rewritten where it stands, or added where a file of before has no such key."""

import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.settings import SettingsFiles
from configuration import Tunable, Value
from configuration.reading import load_settings, parse_settings
from messages.files import Rewrite
from messages.loops import Change
from tests.activities.rewriting import failure
from tests.activities.settings_files import LOOP, SHIPPED, edit, rewrite

OWN = """
[custom.depth] # mine
value = 3   # of nine
low = 1
high = 9
step = 2
meaning = "pages looked at"

[custom.tone]
value = 'plain'
choices = ["plain", "formal"]
meaning = "how an essay is worded"
"""
FULL = SHIPPED.replace("allowed = []", 'allowed = ["gemma3:4b"]') + OWN
WITHOUT_TEMPERATURES = re.sub(r"(?ms)^\[temperatures\]$.*?(?=^\[)", "", SHIPPED)
ROBIN, DEPTH = "temperatures.robin", "custom.depth.value"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(FULL, encoding="utf-8")
    return path


def a_step(tunable: Tunable, present: Value) -> Value:
    """The present value, one step further."""
    if tunable.kind == "choice":
        return next(choice for choice in tunable.choices if choice != present)
    assert isinstance(present, int | float)
    further = present + tunable.step if present + tunable.step <= tunable.high else present - tunable.step
    return int(further) if tunable.kind == "integer" else round(further, 6)


def order(key: str, old: Value, new: Value) -> Rewrite:
    return Rewrite(loop_id=LOOP, changes=[Change(key=key, old=old, new=new)])


def changed_lines(path: Path, asked: Rewrite) -> list[str]:
    diff = SettingsFiles(path).preview_rewrite(asked).diff
    return [line for line in diff.splitlines()[2:] if line[0] in "+-"]


@pytest.mark.parametrize("key", parse_settings(Path("settings.toml"), FULL).tunables())
def test_one_step_of_each_is_written_and_nothing_else(path: Path, key: str) -> None:
    before = load_settings(path)
    new = a_step(before.tunables()[key], before.tuned()[key])
    asked = order(key, before.tuned()[key], new)
    lines = changed_lines(path, asked)
    assert [line[0] for line in lines if line not in ("+", "+[temperatures]")] in (["-", "+"], ["+"])
    receipt = rewrite(path, asked)
    assert receipt.settings == load_settings(path) == before.with_changes({key: new})
    assert (receipt.stale, before.changes_to(receipt.settings)) == ([], {key: (before.tuned()[key], new)})
    kept = [line for line in FULL.splitlines() if f"-{line}" not in lines]
    assert [line for line in path.read_text().splitlines() if f"+{line}" not in lines] == kept


def test_a_temperature_is_added_to_its_section_before_the_next_one(path: Path) -> None:
    rewrite(path, order(ROBIN, 0.6, 0.8))
    assert path.read_text() == FULL.replace("# robin = 0.6\n", "# robin = 0.6\nrobin = 0.8\n")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_section_that_a_file_of_before_lacks_is_added_with_its_kind_of_line_ending(
    path: Path, end: str
) -> None:
    text = WITHOUT_TEMPERATURES.replace("\n", end)
    path.write_bytes(text.encode())
    rewrite(path, order(ROBIN, 0.6, 0.8))
    assert path.read_bytes().decode() == text + f"{end}[temperatures]{end}robin = 0.8{end}"


def test_a_temperature_that_only_goes_with_the_common_one_is_stale_when_that_has_changed(path: Path) -> None:
    edit(path, "temperature = 0.6", "temperature = 0.7")
    text = path.read_text()
    assert rewrite(path, order(ROBIN, 0.6, 0.8)).stale == [ROBIN]
    assert path.read_text() == text
    assert rewrite(path, order(ROBIN, 0.7, 0.8)).stale == []


def test_the_common_temperature_is_set_beside_those_that_the_file_tells_apart(path: Path) -> None:
    edit(path, "# robin = 0.6", "robin = 0.6")
    asked = order("models.temperature", 0.6, 0.9).model_copy(update={"by_person": True})
    assert rewrite(path, asked).settings.temperatures.by_persona() == {
        **dict.fromkeys(["ALFRED", "BABS", "BRICK"], 0.9),
        "ROBIN": 0.6,
    }


def test_a_name_that_a_person_took_out_meanwhile_is_stale_for_themselves_and_closed_for_a_loop(
    path: Path,
) -> None:
    path.write_text(SHIPPED, encoding="utf-8")
    asked = order(DEPTH, 3, 5)
    assert "custom.depth.value: not for the image to change" in failure(lambda: rewrite(path, asked)).message
    assert rewrite(path, asked.model_copy(update={"by_person": True})).stale == [DEPTH]
    assert path.read_text() == SHIPPED


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("models.temperature", 0.6, 0.8),
        ("optimizer.risk", 0.35, 1.0),
        ("optimizer.judge", "", "off"),
        ("custom.depth.high", 9, 99),
        ("custom.depth.meaning", "pages looked at", "anything"),
        ("custom.new.value", 1, 2),
    ],
)
def test_what_judges_the_image_and_what_bounds_it_is_not_for_it_to_change(
    path: Path, key: str, old: Value, new: Value
) -> None:
    asked = order(key, old, new)
    for action in (lambda: rewrite(path, asked), lambda: SettingsFiles(path).preview_rewrite(asked)):
        error = failure(action)
        assert (error.type, error.non_retryable) == ("InvalidSettings", True)
        assert f"{key}: not for the image to change" in error.message
    assert path.read_text() == FULL


def test_a_model_is_for_the_image_to_change_only_where_others_are_allowed(path: Path) -> None:
    asked = order("models.robin", "llama3.1:8b", "gemma3:4b")
    edit(path, 'allowed = ["gemma3:4b"]', "allowed = []")
    assert "models.robin: not for the image to change" in failure(lambda: rewrite(path, asked)).message
    edit(path, "allowed = []", 'allowed = ["gemma3:4b"]')
    assert rewrite(path, asked).settings.models.by_persona()["ROBIN"] == "gemma3:4b"


def test_a_value_of_a_persons_own_stays_within_what_the_person_declared(path: Path) -> None:
    error = failure(lambda: rewrite(path, order(DEPTH, 3, 11)))
    assert "[custom.depth]: value = 11 must be a number from 1 to 9" in error.message
    assert path.read_text() == FULL


# --- every layout ---------------------------------------------------------------------------------

SPACE = st.sampled_from(["", " ", "\t"])
OWN_KEYS = {"value": "\0", "low": "1", "high": "9", "step": "2", "meaning": '"m"'}


@st.composite
def layouts(draw: Any) -> str:
    """The shipped file with `[custom.depth]` and `[temperatures]` in TOML's layouts; `\\0`, `\\1`: values."""

    def pair(name: str, value: str) -> str:
        return f"{name}{draw(SPACE)}={draw(SPACE)}{value}"

    keys = draw(st.permutations(list(OWN_KEYS)))
    inner = [pair(key, OWN_KEYS[key]) for key in keys]
    inline = "{" + draw(SPACE) + ", ".join(inner) + draw(SPACE) + "}"
    own, top = draw(
        st.sampled_from(
            [
                ("\n".join(["[custom.depth]", *inner]), ""),
                ("\n".join(["[ custom . 'depth' ] # mine", *inner]), ""),
                ("\n".join(["[custom]", *(f"depth.{line}" for line in inner)]), ""),
                (f"[custom]\ndepth = {inline}", ""),
                ("", f"custom = {{depth = {inline}}}"),
                ("", f"custom.depth = {inline}"),
                ("", "\n".join(f"custom.depth.{line}" for line in inner)),
            ]
        )
    )
    warm, above = draw(
        st.sampled_from(
            [
                ("[temperatures]\nrobin = \1 # warm", ""),
                ("", "temperatures = { robin = \1 }"),
                ("", "temperatures.robin = \1"),
            ]
        )
    )
    parts = draw(st.permutations([part for part in (own, warm, WITHOUT_TEMPERATURES) if part]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return "\n".join([top, above, *parts, ""]).replace("\n", end)


@settings(deadline=None)
@given(layout=layouts())
def test_no_layout_loses_more_than_the_old_values(layout: str) -> None:
    before, after = (layout.replace("\0", str(n)).replace("\1", t) for n, t in ((3, "0.50"), (5, "0.7")))
    asked = order(DEPTH, 3, 5)
    asked.changes.append(Change(key=ROBIN, old=0.5, new=0.7))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.toml"
        path.write_bytes(before.encode())
        rewrite(path, asked)
        assert path.read_bytes().decode() == after
