"""What a person reads in the Web UI while an approved proposal waits for an obstacle."""

from playwright.async_api import expect

from testbed.world import World, until
from tests.web_ui.person import Person


async def test_the_pages_of_loop_and_image_say_what_an_approval_waits_for(
    world: World, person: Person
) -> None:
    view = await world.pending_proposal()
    elsewhere = world.file.rename(world.file.with_name("elsewhere.toml"))
    await world.loop(view.loop_id).signal("approve", "Ada")

    async def told() -> str:
        return (await world.status()).obstacles.get(view.loop_id, "")

    obstacle = await until(told)
    details = await person.reads_details(view.loop_id)
    await expect(details.get_by_role("heading", level=2)).to_contain_text("something is in the way")
    await expect(details.get_by_text(obstacle)).to_be_visible()
    await expect(details.get_by_text("Nothing has to be decided again")).to_be_visible()
    await expect(details.get_by_text("Decided by Ada")).to_be_visible()
    assert await details.get_by_text("How to decide").count() == 0

    image = await person.reads_details(world.name)
    await expect(image.get_by_text(f"cannot get at settings.toml: {obstacle}")).to_be_visible()

    elsewhere.rename(world.file)
    await world.loop(view.loop_id).result()
    details = await person.reads_details(view.loop_id)
    await expect(details.get_by_text("approved")).to_be_visible()
    assert await details.get_by_text("something is in the way").count() == 0
