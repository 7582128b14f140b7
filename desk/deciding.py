"""A person's decision on a proposal: find it, show it, ask, send the verdict bound to what was shown."""

from __future__ import annotations

import getpass
import os
import tomllib
from typing import TYPE_CHECKING

import typer

from connection.problems import Problem, Refused
from desk import proposal_rendering, rendering
from desk.problems import waits_because
from desk.prompting import prompting
from desk.signing import key_for, signed

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from configuration import Value
    from desk.client import Desk
    from messages.loops import LoopConcluded, ProposalView
    from messages.requests import Decision
    from messages.signatures import SignatureTaken


async def find_proposal(desk: Desk, loop: str | None) -> ProposalView:
    """The proposal of a loop, or the only one that waits.

    Raises Refused where none waits, Problem where several do.
    """
    if loop is not None:
        return await desk.proposal(desk.loop_id(loop))
    pending = await desk.pending()
    if not pending:
        # One that is decided and waits for something else is what a person may be looking for.
        if obstructed := (await desk.status()).obstacles:
            return await desk.proposal(next(iter(obstructed)))
        raise Refused(
            f"No proposal of {desk.image_id} waits for a person. Past ones: python starter.py amendments"
        )
    if len(pending) > 1:
        names = ", ".join(view.loop_id for view in pending)
        raise Problem(f"Several proposals wait: {names}. Say which one")
    return pending[0]


def read_changes(settings: list[str]) -> dict[str, Value]:
    """The person's own values, from `key=value` with values as in TOML."""
    changes: dict[str, Value] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        try:
            value = tomllib.loads(f"value = {text.strip()}")
        except (tomllib.TOMLDecodeError, RecursionError):
            value = {}
        if not (
            key.strip()
            and equals
            and set(value) == {"value"}
            and isinstance(value["value"], bool | int | float | str)
        ):
            raise Problem(
                f"--set {setting!r} cannot be read. Write key=value with a value as in settings.toml, "
                "such as autopoiesis.max_turns=5"
            )
        changes[key.strip()] = value["value"]
    return changes


async def decide(
    desk: Desk, view: ProposalView, decision: Decision, console: Console, *, ask: bool, key_file: Path | None
) -> LoopConcluded | SignatureTaken:
    """Show the proposal, ask the person if wanted, and send the decision bound to what was shown.

    Signed where only some may decide: with the key in a file, else by the SSH agent.
    """
    if view.state != "pending":
        if view.obstacle:
            stands = (
                f"is decided already, by {view.decided_by}"
                if view.decided_by
                else "has nothing to decide yet"
            )
            raise Refused(f"{view.loop_id} {stands}. It {waits_because(view)}")
        by = f" by {view.decided_by}" if view.decided_by else ""
        raise Refused(f"{view.loop_id} has nothing to decide: {view.state}{by}. {view.reason}".strip())
    console.print(proposal_rendering.proposal(view))
    for key, value in decision.changes.items():
        console.print(rendering.words(f"Your own value: {key} = {rendering.toml(value)}", "bold"))
    signer = await key_for(view, key_file) if view.signatures.approvers else None
    if ask:
        confirm(f"{decision.verdict} {view.loop_id}?".capitalize(), f"{decision.verdict}")
    decision = decision.model_copy(update={"proposal_digest": view.digest})
    if signer is not None:
        decision = await signed(decision, desk.image_id, view.loop_id, signer)
    return await desk.decide(view.loop_id, decision)


def confirm(question: str, verb: str) -> None:
    """Ask the person. Raises Refused on a no, Interrupted on Ctrl-C, Problem where there is nobody to ask."""
    with prompting(f"Add --yes to {verb} without being asked"):
        agreed = typer.confirm(question, err=True)
    if not agreed:
        raise Refused("Nothing was done")


def login_name() -> str:
    try:
        return os.fsencode(getpass.getuser()).decode()
    except (KeyError, OSError, UnicodeDecodeError):
        raise Problem("This account has no login name. Say who decides: --by NAME") from None
