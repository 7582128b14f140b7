"""The commands for whether a change helps: see it, end it, have an edit of one's own verified."""

from typing import TYPE_CHECKING, Annotated

import typer

from connection.problems import Problem, Refused
from desk import rendering, verification_rendering
from desk.app import By, Comment, Json, Yes, command, present, request, say
from desk.deciding import confirm, login_name

if TYPE_CHECKING:
    from desk.client import Desk
    from messages.requests import EndVerification
    from messages.verification import VerificationView


@command
async def verification(
    *,
    accept: Annotated[bool, typer.Option("--accept", help="End it: the new values stay.")] = False,
    revert: Annotated[
        bool, typer.Option("--revert", help="End it: the values of before hold again.")
    ] = False,
    yes: Yes = False,
    by: By = "",
    comment: Comment = "",
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Whether the latest change helps: how its verification stands; or end that."""
    from messages.requests import EndVerification

    if accept and revert:
        raise Problem("--accept and --revert exclude each other. Say one of them")
    if not (accept or revert):
        view = await desk.verification()
        present(view, as_json, lambda: verification_rendering.verification(view))
        return
    order = request(
        EndVerification,
        action="accept" if accept else "revert",
        approver=by or login_name(),
        comment=comment,
    )
    if not yes:
        ask(await desk.verification(), order)
    ended = await desk.end_verification(order)
    held = (
        f"The new values of {ended.loop_id} stay, and all tasks run under them."
        if accept
        else f"settings.toml has again what held before {ended.loop_id}, and all tasks run under it."
    )
    present(ended, as_json, say(held))


def ask(view: "VerificationView | None", order: "EndVerification") -> None:
    """Show what is known and what would change, and ask. Raises Refused where there is nothing to end."""
    if view is None or view.settled:
        raise Refused("No change is being verified. See: python starter.py verification")
    if view.reversal:
        raise Refused(f"{view.reversal} asks for the way back: approve or reject that")
    rendering.err.print(verification_rendering.verification(view))
    if order.action == "accept":
        confirm(f"Let the new values of {view.loop_id} stay?", "accept")
        return
    rendering.err.print(verification_rendering.way_back(view))
    confirm(f"Go back to what held before {view.loop_id}?", "revert")


@command
async def verify(
    revision: Annotated[
        int | None, typer.Argument(metavar="REVISION", help="Of which edit; else of your latest.")
    ] = None,
    *,
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Verify an edit of your own: of every two tasks one runs under the values of before it."""
    from messages.requests import VerifySettings

    view = await desk.verify(request(VerifySettings, revision=revision))
    sentence = (
        f"Revision {view.revision} of {desk.image_id} is being verified, in at most {view.cap} blocks of two "
        f"tasks and until {rendering.moment(view.ends_at)} at the latest. See: python starter.py verification"
    )
    present(view, as_json, say(sentence))
