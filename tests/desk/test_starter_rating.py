"""`starter.py rate` and `starter.py observations`."""

import pytest

from activities import conditions
from messages.image import Rated
from messages.tasks import PerformanceLog
from messages.trials import Observation
from testbed.world import World
from tests.desk.command_line import Starter
from workflows.observing import values_at


async def test_an_answer_is_rated_in_a_word_or_a_number_and_shown_with_its_task(
    world: World, starter: Starter
) -> None:
    await world.ask("Is it so?", task_id="one")
    await world.tasks_finished()
    good = await starter("rate", "one", "good")
    assert (good.code, good.out) == (0, "The answer to task one is rated 1.\n")
    assert "rated 1 by marie." in (await starter("tasks")).out
    again = await starter("rate", "one", "0.35", "--comment", "it missed the point", "--by", "Ada", "--json")
    assert Rated.model_validate(again.json).accepted
    assert "rated 0.35 by Ada. it missed the point" in (await starter("tasks")).out
    logs = (await starter("logs", "--json")).json
    assert [PerformanceLog.model_validate(log).rating for log in logs] == [0.35]


async def test_observations_are_shown_as_a_table_and_as_json(world: World, starter: Starter) -> None:
    assert (await starter("observations")).out == "No observations yet.\n"
    result = await world.ask("Is it so?", task_id="one", task_type="riddle")
    await world.record_logs(1, outcome="failed", final_dissonance=None)
    await world.tasks_finished()
    await starter("rate", "one", "bad")
    shown = await starter("observations")
    for words in (result.log.settings_digest, result.log.conditions, "riddle", "0.300", "0.00"):
        assert words in shown.out
    rows = [Observation.model_validate(row) for row in (await starter("observations", "--json")).json]
    told = [(list(row.dissonance), row.rating.n, row.failed) for row in rows]
    assert told == [(["riddle"], 1, 0), ([], 0, 1)]
    assert rows[0].values == values_at(world.on_file())


async def test_what_is_no_rating_is_refused_in_one_sentence(world: World, starter: Starter) -> None:
    words, above, unknown = await starter.each(
        ["rate", "one", "great"], ["rate", "one", "1.5"], ["rate", "one", "good"]
    )
    assert (words.code, above.code, unknown.code) == (2, 2, 1)
    assert words.sentence.startswith("'great' is no rating. Say good, bad or a number from 0.0 to 1.0")
    assert "rating: Input should be less than or equal to 1" in above.sentence
    assert "no task one is among the latest 60" in unknown.sentence


async def test_a_change_of_prompts_models_or_program_is_told_in_the_history(
    world: World, starter: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "WAITED_FOR_SECONDS", 60)
    await world.ask("Is it so?")
    await world.stop_workers()
    world.ollama.script.listing.digests = None
    await world.start_workers()
    await world.ask("And now?")
    await world.tasks_finished()
    for command in ("amendments", "history"):
        told = (await starter(command)).out
        assert told.count("prompts, models or the program changed: ") == 1
    assert told.count("1 argument (0 failed)") == 2
