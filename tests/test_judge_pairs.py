"""The pairs that benchmarks/judge.py asks about: enough, balanced, each told once."""

import tomllib

from tests.repository import text_of

PAIRS = tomllib.loads(text_of("benchmarks/judge_pairs.toml"))["pairs"]


def labelled(better: str) -> int:
    return sum(pair["better"] == better for pair in PAIRS)


def test_there_are_enough_and_the_better_one_comes_first_in_half_of_them() -> None:
    assert len(PAIRS) >= 40
    assert labelled("first") == labelled("second")
    assert labelled("same") >= 5
    assert labelled("first") + labelled("second") + labelled("same") == len(PAIRS)


def test_none_is_told_twice() -> None:
    assert len({pair["task"] for pair in PAIRS}) == len(PAIRS)
    answers = [pair[side] for pair in PAIRS for side in ("first", "second")]
    assert len({*answers}) == len(answers)


def test_every_answer_has_fifteen_to_sixty_words() -> None:
    answers = [pair[side] for pair in PAIRS for side in ("first", "second")]
    assert [answer for answer in answers if not 15 <= len(answer.split()) <= 60] == []


def test_the_longer_answer_is_not_the_better_one_nor_the_shorter_one() -> None:
    decided = [pair for pair in PAIRS if pair["better"] != "same"]
    longer = sum(
        (len(pair["first"]) > len(pair["second"])) == (pair["better"] == "first") for pair in decided
    )
    assert 0.4 <= longer / len(decided) <= 0.6


def test_what_is_alike_has_no_fault_and_what_is_worse_has_one() -> None:
    assert [pair for pair in PAIRS if (pair["better"] == "same") != (pair["fault"] == "none")] == []
    assert len({pair["fault"] for pair in PAIRS}) == 8
