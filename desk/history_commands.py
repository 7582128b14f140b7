"""The commands for looking back: every amendment with its figures, and the way to an earlier revision."""

from typing import TYPE_CHECKING, Annotated

import typer

from desk import rendering
from desk.app import By, Comment, Json, Yes, command, present, reading, request, say
from desk.deciding import confirm, login_name
from desk.problems import Refused

if TYPE_CHECKING:
    from desk.client import Desk


reading(
    "history",
    "Every amendment with who, when and why, and whether it helped; where that was not verified, how "
    "arguments went before and after it.",
    lambda desk: desk.history(),
    rendering.history,
)


@command
async def revert(
    revision: Annotated[int, typer.Argument(metavar="REVISION", help="Which earlier one; see `history`.")],
    *,
    yes: Yes = False,
    by: By = "",
    comment: Comment = "",
    as_json: Json = False,
    desk: "Desk",
) -> None:
    """Rewrite settings.toml to an earlier revision; the ledger keeps it as your amendment."""
    from messages.requests import RevertSettings
    from workflows.ledger import NoWayBack

    order = request(RevertSettings, revision=revision, approver=by or login_name(), comment=comment)
    if not yes:
        now = await desk.state()
        try:
            rendering.err.print(rendering.changes(now.ledger.changes_back_to(revision)))
        except NoWayBack as error:
            raise Refused(f"{now.image_id} refused: {error}") from None
        confirm(
            f"Go back from revision {now.ledger.revision} of {now.image_id} to revision {revision}?", "revert"
        )
    receipt = await desk.revert(order)
    sentence = (
        f"settings.toml holds revision {revision} again, as revision {receipt.revision} ({receipt.digest})."
    )
    present(receipt, as_json, say(sentence))
