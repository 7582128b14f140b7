"""A short life of chaos finds nothing wrong, and its checker finds all that can be wrong."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.chaos.checker import Evidence, Loop, judge
from benchmarks.chaos.points import POINTS
from testbed.processes import ROOT

FIRST = "# A comment.\n[autopoiesis]\nmax_turns = 2\n[motivator]\ngoals_per_day = 4\n"
FASTER = FIRST.replace("max_turns = 2", "max_turns = 3")
EDITED = FASTER.replace("goals_per_day = 4", "goals_per_day = 5")
SLOWER = EDITED.replace("max_turns = 3", "max_turns = 2")
TURNS, GOALS = "autopoiesis.max_turns", "motivator.goals_per_day"

WELL = Evidence(
    accepted=["t0", "t1", "t2"],
    executions=[("t0", "COMPLETED"), ("t1", "FAILED"), ("t2", "RUNNING")],
    told=[("t0", "finished"), ("t1", "finished"), ("t2", "running")],
    counted=3,
    ratings={"t0": 0.5},
    told_ratings={"t0": 0.5, "t1": None},
    window=["t0", "t1"],
    texts=[FIRST, FASTER, EDITED, SLOWER],
    edits=[{GOALS: 5}],
    loops=[
        Loop("loop/1", "approved", {TURNS: 3}, "approve"),
        Loop("loop/2", "rejected", {TURNS: 4}, "reject"),
        Loop("loop/3", "no_proposal", {}),
        Loop("loop/4", "approved", {TURNS: 2}, "approve"),
    ],
    backups=["loop/1", "loop/4"],
    ledger=["loop/1", "loop/4"],
    snapshots=["it is cut off", ""],
    values={"image": {TURNS: 2}, "file": {TURNS: 2}, "ledger": {TURNS: 2}},
)
LOOPS = WELL.loops


def test_a_life_without_a_fault_is_no_violation() -> None:
    assert judge(WELL) == []
    # The reader may see two changes as one, and an edit may set what an amendment has set before.
    assert judge(replace(WELL, texts=[FIRST, FASTER, SLOWER])) == []
    again = [*WELL.texts, EDITED]
    assert judge(replace(WELL, texts=again, edits=[{GOALS: 5}, {TURNS: 3}])) == []


@pytest.mark.parametrize(
    ("seen", "violation"),
    [
        ({"executions": WELL.executions[1:]}, "task t0 was accepted and is nowhere"),
        ({"executions": [*WELL.executions, ("t0", "COMPLETED")]}, "task t0 was argued out 2 times"),
        ({"executions": [("t0", "TERMINATED"), *WELL.executions[1:]]}, "task t0 ended as TERMINATED"),
        (
            {"told": [("t0", "running"), *WELL.told[1:]]},
            "task t0 is COMPLETED, and the image has it as running",
        ),
        ({"told": [*WELL.told, ("t0", "finished")]}, "the image tells task t0 2 times"),
        ({"told": [*WELL.told, ("t9", "queued")]}, "task t9 was never handed in"),
        ({"counted": 4}, "3 tasks were accepted, and the image counts 4"),
        ({"told_ratings": {"t0": None}}, "task t0 was rated 0.5, and the image has None"),
        ({"window": ["t0", "t1", "t0"]}, "the window has the log of t0 2 times"),
        ({"texts": [FIRST, FIRST[:30], FASTER, EDITED, SLOWER]}, "settings.toml was torn at change 1"),
        ({"texts": [FIRST, FASTER[13:], FASTER, EDITED, SLOWER]}, "settings.toml was torn at change 1"),
        ({"texts": [FIRST, None, FASTER, EDITED, SLOWER]}, "settings.toml was not there at change 1"),
        ({"texts": [FIRST, FASTER, EDITED]}, "loop/4 is not in settings.toml"),
        ({"texts": [FIRST, FASTER, FIRST]}, "an edit is not in settings.toml"),
        (
            {"texts": [*WELL.texts, SLOWER.replace("max_turns = 2", "max_turns = 4")]},
            "was not to come then: {'autopoiesis.max_turns': 4}; loop/2 wanted it, which ended as rejected",
        ),
        ({"texts": [*WELL.texts, EDITED]}, "loop/1 wanted it, which ended as approved"),
        (
            {"loops": [LOOPS[3], *LOOPS[1:3], LOOPS[0]]},
            "change 3 of settings.toml was not to come then: {'autopoiesis.max_turns': 2}; loop/4 wanted it",
        ),
        (
            {"loops": [replace(LOOPS[0], said=""), *LOOPS[1:]]},
            "loop/1 counts as approved, and the person said",
        ),
        (
            {"loops": [LOOPS[0], replace(LOOPS[1], state="failed"), *LOOPS[2:]]},
            "loop/2 was rejected, and ended",
        ),
        ({"backups": ["loop/1", "loop/4", "loop/4"]}, "the backups are those of"),
        ({"backups": []}, "2 amendments were approved, and there is no backup"),
        ({"ledger": ["loop/4", "loop/1"]}, "the ledger has ['loop/4', 'loop/1'] as approved"),
        ({"snapshots": ["it is cut off", "so is it", ""]}, "neither the newest snapshot loads nor"),
        ({"saved": ["a.image is not there as it was written"]}, "a.image is not there"),
        ({"values": {"image": {TURNS: 2}, "file": {TURNS: 3}}}, "the settings differ between image and file"),
    ],
)
def test_the_checker_sees(seen: dict[str, Any], violation: str) -> None:
    assert any(violation in told for told in judge(replace(WELL, **seen)))


def test_an_edit_that_does_what_an_amendment_did_is_no_other_order() -> None:
    again = SLOWER.replace("max_turns = 2", "max_turns = 3")
    assert not list(
        judge(replace(WELL, texts=[*WELL.texts, again], edits=[*WELL.edits, {TURNS: 3}], values={}))
    )


def test_what_a_person_has_made_by_hand_is_approved_without_a_change() -> None:
    made = replace(WELL, loops=[*LOOPS, Loop("loop/5", "approved", {GOALS: 5}, "approve")])
    assert judge(replace(made, ledger=["loop/1", "loop/4", "loop/5"])) == []
    other = replace(WELL, loops=[*LOOPS, Loop("loop/5", "approved", {GOALS: 6}, "approve")])
    told = judge(replace(other, ledger=["loop/1", "loop/4", "loop/5"]))
    assert any("loop/5 is not in settings.toml" in violation for violation in told)
    assert any("the backups are those of" in violation for violation in told)


def test_an_edit_that_does_a_part_of_an_amendment_leaves_the_rest_to_it() -> None:
    before = [EDITED, EDITED.replace("goals_per_day = 5", "goals_per_day = 6")]
    both = Loop("loop/5", "approved", {TURNS: 2, GOALS: 6}, "approve")
    seen = replace(
        WELL,
        texts=[FIRST, FASTER, *before, before[-1].replace("max_turns = 3", "max_turns = 2")],
        edits=[*WELL.edits, {GOALS: 6}],
        loops=[*LOOPS[:-1], both],
        backups=["loop/1", "loop/5"],
        ledger=["loop/1", "loop/5"],
    )
    assert judge(seen) == []
    [violation] = judge(replace(seen, texts=seen.texts[:-1]))
    assert "loop/5 is not in settings.toml" in violation


@pytest.mark.timeout(1800)
def test_a_short_life_of_chaos_has_no_violation() -> None:
    kinds = ("both", "replaced", "dump")
    command = ["-m", "benchmarks.chaos", "--rounds", str(len(kinds)), "--json", "--only", *kinds]
    ran = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert (told["rounds"], told["violations"]) == (3, [])
    assert told["kills"]["worker"] >= 2
    assert told["kills"]["server"] >= 1
    assert any(f"kills {where}" in told["met"] for where in POINTS.values())
