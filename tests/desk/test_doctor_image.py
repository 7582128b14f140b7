"""`starter.py doctor` on a living image: whether it is where its file says, and goes by what that says."""

from testbed.world import World, until
from tests.desk.command_line import Ran, Starter


async def test_an_image_that_goes_by_its_file_is_well(world: World, starter: Starter) -> None:
    ran = await starter("doctor", "--json")
    digest = world.on_file().digest()
    image, adopted = ran.finding("image"), ran.finding("adopted")
    assert (image["state"], image["figure"]) == ("ok", f"{world.name!r} lives on task queue {world.name}")
    assert (adopted["state"], adopted["figure"]) == (
        "ok",
        f"the image goes by revision 1, digest {digest}, as settings.toml says",
    )


async def test_an_edit_that_nobody_noticed_is_told_until_the_image_has_read_it(
    world: World, starter: Starter
) -> None:
    before = world.on_file().digest()
    world.edit({"autopoiesis.max_turns": 5})
    adopted = (await starter("doctor", "--json")).finding("adopted")
    assert adopted["state"] == "warning"
    assert adopted["figure"] == (
        f"the image goes by revision 1, digest {before}; settings.toml has digest {world.on_file().digest()}"
    )
    assert "python starter.py reload" in adopted["advice"]
    assert (await starter("reload")).code == 0
    assert (await starter("doctor", "--json")).finding("adopted")["state"] == "ok"


async def test_a_file_put_right_that_the_image_still_holds_for_wrong(world: World, starter: Starter) -> None:
    world.edit({"autopoiesis.max_turns": 99})
    assert (await starter("reload")).code == 1
    world.edit({"autopoiesis.max_turns": 2})
    adopted = (await starter("doctor", "--json")).finding("adopted")
    assert adopted["state"] == "warning"
    assert "what it read last was refused: " in adopted["figure"]
    assert "max_turns = 99" in adopted["figure"]
    assert (await starter("reload")).code == 0
    assert (await starter("doctor", "--json")).finding("adopted")["state"] == "ok"


async def test_another_task_queue_is_told_in_the_words_of_the_image(world: World, starter: Starter) -> None:
    world.edit({"system.task_queue": "elsewhere"})
    refused = (await starter("reload")).sentence
    sentence = f'[system] task_queue = "elsewhere": this image lives on "{world.name}" and cannot move'
    assert refused == f"{sentence}; set it back"
    ran, start = await starter.each(["doctor", "--json"], ["start"])
    assert (start.code, start.sentence) == (2, refused)
    image = ran.finding("image")
    assert (ran.code, image["state"], image["figure"]) == (2, "broken", sentence)
    assert image["advice"] == "Set it back"
    # The workers of the image are where it lives, not where the file says.
    assert "1 worker polls it" in ran.finding(f"task queue {world.name}")["figure"]


async def test_without_a_worker_only_its_place_is_known(world: World, starter: Starter) -> None:
    await world.stop_workers()

    async def alone() -> Ran | None:
        ran = await starter("doctor", "--json")
        return ran if "adopted" in ran.json["not_checked"].get("no worker", []) else None

    assert (await until(alone)).finding("image")["state"] == "ok"
