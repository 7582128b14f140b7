"""The commands for looking back: every amendment with its figures, and the way to an earlier revision."""

from typing import TYPE_CHECKING, Annotated

import typer

from connection.problems import Refused
from desk import rendering
from desk.app import By, Comment, Csv, Json, Yes, command, present, request, say
from desk.deciding import confirm, login_name

if TYPE_CHECKING:
    from desk.client import Desk


@command
async def history(*, csv: Csv = None, as_json: Json = False, desk: "Desk") -> None:
    """Every amendment with who, when and why, and whether it helped.

    Where that was not verified, how arguments went before and after it. In CSV a row for each changed key,
    and one for an amendment that changed none: the rows of one amendment have the same number.
    """
    entries = await desk.history()
    if csv is None:
        present(entries, as_json, lambda: rendering.history(entries))
        return
    from desk.tables import history_table, save_table

    save_table(csv, history_table(entries), as_json)


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
