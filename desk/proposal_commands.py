"""The commands for proposals: what waits, in full, computed again, and decided."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from desk import proposal_rendering, rendering
from desk.app import By, Comment, Json, Why, Yes, command, present, request, why
from desk.deciding import decide, find_proposal, login_name, read_changes
from desk.problems import NO

if TYPE_CHECKING:
    from desk.client import Desk
    from messages.loops import ProposalView
    from messages.requests import Decision

Loop = Annotated[
    str | None,
    typer.Argument(metavar="[LOOP]", help="3, loop/3 or the full id; else the only pending one."),
]


KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="Sign with this private key, where a signature is asked for; else by the SSH agent.",
    ),
]


@command
async def proposals(*, as_json: Json = False, desk: "Desk") -> None:
    """What waits for a person's decision."""
    pending = await desk.pending()
    present(pending, as_json, lambda: proposal_rendering.proposals(pending))


@command
async def show(
    loop: Loop = None,
    *,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw it: a .png, .svg or .pdf."),
    ] = None,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """One proposal in full: the change, the evidence, the reasons."""
    view = await find_proposal(desk, loop)
    if plot is not None:
        await draw(desk, view, plot)
    present(view, as_json, lambda: proposal_rendering.proposal(view))


async def draw(desk: "Desk", view: "ProposalView", file: Path) -> None:
    """The picture of a proposal. Raises Problem; Refused where there is nothing to draw."""
    from connection.problems import Refused
    from desk.explaining import recorded
    from desk.plots.proposal import save_plot

    if view.effect is None:
        raise Refused(
            f"{view.loop_id} has no proposal with figures to draw: {view.state}. {view.reason}".strip()
        )
    request, _ = await recorded(desk, view.loop_id)
    latest = await desk.verification()
    verified = latest if latest and latest.loop_id == view.loop_id else None
    save_plot(file, view, request, await desk.amendments(), verified)


@command
async def explain(
    loop: Annotated[str, typer.Argument(metavar="LOOP", help="3, loop/3 or the full id.")],
    *,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Compute a proposal again from what is on record, and say whether it comes out the same."""
    from desk.explaining import computed_again, differences, recorded

    loop_id = desk.loop_id(loop)
    request, answer = await recorded(desk, loop_id)
    again = await computed_again(request)
    differ = differences(answer, again)
    value = {
        "loop_id": loop_id,
        "same": not differ,
        "differences": differ,
        "recorded": answer,
        "computed": again,
    }
    present(value, as_json, lambda: proposal_rendering.explanation(loop_id, answer, differ))
    if differ:
        raise typer.Exit(NO)


@command
async def approve(
    loop: Loop = None,
    *,
    yes: Yes = False,
    by: By = "",
    comment: Comment = "",
    own: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Your own value for a key of the proposal."),
    ] = None,
    key: KeyFile = None,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Let the image rewrite settings.toml as it proposes, or with your own values."""
    from messages.requests import Decision

    changes = read_changes(own or [])
    decision = request(
        Decision, verdict="approve", approver=by or login_name(), comment=comment, changes=changes
    )
    await carry_out(decision, desk, loop, yes=yes, key=key, as_json=as_json)


@command
async def reject(
    loop: Loop = None,
    *,
    yes: Yes = False,
    by: By = "",
    comment: Comment = "",
    key: KeyFile = None,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Refuse a proposal; settings.toml stays as it is."""
    from messages.requests import Decision

    decision = request(Decision, verdict="reject", approver=by or login_name(), comment=comment)
    await carry_out(decision, desk, loop, yes=yes, key=key, as_json=as_json)


async def carry_out(
    decision: "Decision", desk: "Desk", loop: str | None, *, yes: bool, key: Path | None, as_json: bool
) -> None:
    from messages.signatures import SignatureTaken

    view = await find_proposal(desk, loop)
    console = rendering.err if as_json else rendering.out
    conclusion = await decide(desk, view, decision, console, ask=not yes, key_file=key)
    if isinstance(conclusion, SignatureTaken):
        sentence = str(conclusion)
        present(conclusion, as_json, lambda: rendering.words(sentence))
        return
    present(conclusion, as_json, lambda: proposal_rendering.conclusion(conclusion))
    if conclusion.state != {"approve": "approved", "reject": "rejected"}[str(decision.verdict)]:
        raise typer.Exit(NO)


@command
async def reflect(
    reason: Why = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the proposal.")] = False,
    *,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Make the image look at its logs now."""
    from desk.waiting import until_settled

    receipt = await desk.reflect(why(reason))
    if not wait:
        see = f"See: python starter.py show {receipt.loop_id}"
        sentence = f"The image reflects in {receipt.loop_id}. {see}"
        present(receipt, as_json, lambda: rendering.whole(sentence))
        return
    view = await until_settled(desk, receipt.loop_id)
    present(view, as_json, lambda: proposal_rendering.proposal(view))
    if view.state == "failed":
        raise typer.Exit(NO)
