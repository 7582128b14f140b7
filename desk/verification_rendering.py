"""How the desk shows whether a change helps: what is known by now, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from desk.rendering import (
    STYLES,
    change_line,
    changes,
    fields,
    known,
    moment,
    new_table,
    paragraph,
    toml,
    whole,
    words,
)

if TYPE_CHECKING:
    from messages.verification import VerificationView

NOTHING = "No change was verified yet: an approved one is, where [optimizer] verify_blocks is above 0."
WAYS = "python starter.py verification --accept, or --revert"


def verification(view: VerificationView | None) -> RenderableType:
    """All of a verification, in computed figures."""
    if view is None:
        return Text(NOTHING)
    parts: list[RenderableType] = [fields(known(facts(view))), Text("\nLooks", "bold"), _looks(view)]
    if view.pinned:
        parts += [Text(), pinned(view)]
    return Group(*parts, Text(), words(_so_far(view), "dim"))


def pinned(view: VerificationView) -> RenderableType:
    """That tasks run under other values than settings.toml has, why, and what to do about it."""
    values = (
        f"{each.key} = {toml(each.old)}, and settings.toml has {toml(each.new)}" for each in view.changes
    )
    return paragraph(words(harm(view), "bold red"), *map(words, values), *_ways_out(view))


def harm(view: VerificationView) -> str:
    """That tasks run under the old values, and which change it is that does harm."""
    from messages.verification import PINNED

    return f"{PINNED}: {view.loop_id} does harm."


def _ways_out(view: VerificationView) -> list[RenderableType]:
    """Commands, never broken into lines."""
    back, stay = f"approve {view.reversal}", f"reject {view.reversal}"
    if not view.reversal:
        back, stay = "verification --revert", "verification --accept"
    return [
        whole(f"To go back to the old values: python starter.py {back}"),
        whole(f"To use the new ones:          python starter.py {stay}"),
    ]


def facts(view: VerificationView) -> dict[str, Text]:
    until = "" if view.verdict else f", until {moment(view.ends_at)} at the latest"
    by = f"{view.ended_by}. {view.comment}".rstrip() if view.ended_by else ""
    return {
        "change": changes(view.changes),
        "of": words(_whose(view), "bold"),
        "verdict": _verdict(view),
        "since": words(f"{moment(view.since)}{until}"),
        "blocks": words(
            f"{view.blocks} of {view.cap}, each a task under the old and one under the new values"
        ),
        "effect": words(_effect(view)),
        # Harm shows in the tasks alone, however sure one was before.
        "better": words(
            ""
            if view.verdict == "harmful"
            else f"with probability {view.better:.2f}, by this and what was known before"
        ),
        "harm": words(_evidence(view.harm, view.harm_at)),
        "failures": words(_guardrail(view, "failures")),
        "ratings": words(_guardrail(view, "ratings")),
        "way back": words(f"{view.reversal} asks a person for it" if view.reversal else "", "yellow"),
        "ended by": words(by),
        "to end it": words("" if view.settled or view.reversal else WAYS),
    }


def _whose(view: VerificationView) -> str:
    return (
        f"a person's edit, revision {view.revision}"
        if view.by_person
        else f"{view.loop_id}, revision {view.revision}"
    )


def _verdict(view: VerificationView) -> Text:
    from messages.verification import VERDICTS

    if view.verdict is None:
        return words("none yet", "yellow")
    return words(f"{view.verdict}: {VERDICTS[view.verdict]}", STYLES[view.verdict])


def _effect(view: VerificationView) -> str:
    if view.effect is None or view.interval is None:
        return "too few blocks for a figure"
    low, high = view.interval
    return f"gain {view.effect:+.3f} (90%: {low:+.3f} to {high:+.3f}): how much lower the loss of a task is"


def _guardrail(view: VerificationView, what: str) -> str:
    value = view.guardrails.get(what)
    return "nothing counted" if value is None else _evidence(value, view.guardrail_at)


def _evidence(value: float, bound: float) -> str:
    return f"e-value {value:.3g}; from {bound:g} on it counts as harm"


def _looks(view: VerificationView) -> RenderableType:
    table = new_table(*view.heads())
    for row in view.rows():
        table.add_row(*row)
    note = Text("It improved where p is at most the last figure.", "dim")
    return Group(table, note) if table.row_count else Text("None was passed.")


def _so_far(view: VerificationView) -> str:
    return (
        f"Claimed as improved: {view.claims} of {view.verified} verified so far. "
        "Of changes that make no difference, up to 5% are."
    )


def way_back(view: VerificationView) -> Text:
    """What going back changes."""
    back = (each.model_copy(update={"old": each.new, "new": each.old}) for each in view.changes)
    return words("\n".join(map(change_line, back)))
