"""A proposal drawn, and computed again, from the command line."""

from pathlib import Path

from testbed.world import World
from tests.desk.command_line import Starter

PNG = b"\x89PNG\r\n"


async def test_a_proposal_comes_out_the_same_when_it_is_computed_again(
    world: World, starter: Starter
) -> None:
    view = await world.pending_proposal()
    ran = await starter("explain", view.loop_id, "--json")
    assert (ran.code, ran.json["same"], ran.json["differences"]) == (0, True, [])
    assert view.provenance is not None
    assert ran.json["computed"]["proposal"]["provenance"] == view.provenance.model_dump()
    told = await starter("explain", "1")
    assert told.code == 0
    assert "computed again" in told.out and "the same" in told.out


async def test_a_loop_without_an_answer_has_nothing_to_compute_again(world: World, starter: Starter) -> None:
    ran = await starter("explain", "9")
    assert ran.code == 2
    assert "There is no loop" in ran.sentence


async def test_a_proposal_is_drawn_into_a_file(world: World, starter: Starter, tmp_path: Path) -> None:
    view = await world.pending_proposal()
    file = tmp_path / "proposal.png"
    ran = await starter("show", view.loop_id, "--plot", str(file))
    assert ran.code == 0
    assert file.read_bytes().startswith(PNG)
    ran = await starter("show", "--plot", str(tmp_path / "proposal.doc"))
    assert ran.code == 2
    assert "Name a file that ends in .png, .svg or .pdf" in ran.sentence


async def test_where_nothing_was_proposed_there_is_nothing_to_draw(
    world: World, starter: Starter, tmp_path: Path
) -> None:
    loop_id = await world.reflect()
    await world.proposal(loop_id, "no_proposal")
    ran = await starter("show", loop_id, "--plot", str(tmp_path / "nothing.png"))
    assert ran.code == 1
    assert "has no proposal with figures to draw: no_proposal" in ran.sentence
    assert not (tmp_path / "nothing.png").exists()
