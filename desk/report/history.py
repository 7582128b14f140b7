"""What the page tells of the life: the ledger, what came of each change, the settings and whence they are."""

from collections.abc import Iterator

from desk import rendering, verification_rendering
from desk.plots.effects import MOST_ROWS, Gain, effects, looks
from desk.plots.life import lane, life
from desk.report.figures import Figures, grid
from desk.report.lived import Life
from desk.report.markup import Html, element, facts, joined, lines, paragraph, section, table
from messages.image import Amendment, HistoryEntry
from messages.loops import Change
from messages.verification import VERDICTS, VerificationView, Verified

LEDGER = ["revision", "when", "what", "by", "change", "in words"]
VERIFIED = ["revision", "change", "verdict", "blocks", "gain", "90% interval", "ended by"]
NOT_ADOPTED = ("rejected", "expired", "stale", "no_proposal", "failed")


def the_life(of: Life, figures: Figures) -> Html:
    """The time axis, and each entry of the ledger."""
    rows = [_entry(of, each) for each in of.state.ledger.history()]
    entries = (
        table("Every entry of the ledger, oldest first", LEDGER, rows) if rows else _none("No amendment yet")
    )
    picture = life(of.state.started_at, of.until, of.ledger)
    return section("life", "Life", figures.in_both_widths(picture), entries)


def _none(what: str) -> Html:
    return paragraph(f"{what}.")


def _entry(of: Life, entry: HistoryEntry) -> list[object]:
    amended = entry.amendment
    changed = amended.state in ("approved", "adopted")
    told = [] if amended.changes_conditions else [amended.justification]  # which tells it already
    told += [*rendering.remarks(amended), str(amended.verified or ""), *rendering.before_and_after(entry)]
    return [
        amended.revision,
        rendering.moment(amended.decided_at),
        lane(amended) if changed else amended.state.replace("_", " "),
        lines(filter(None, [amended.decided_by, of.name_of(amended.loop_id) or amended.source])),
        lines(map(rendering.change_line, amended.changes)),
        lines(filter(None, told)),
    ]


# --- whether changes helped ---


def the_effects(of: Life, figures: Figures) -> Html:
    """What was verified, and how the present verification stands."""
    verified = [(entry, entry.verified) for entry in of.ledger if entry.verified]
    gains = [gain for entry, found in verified for gain in _gains(of, entry, found)]
    now = of.state.verifying.view()
    drawn, parts = [], []
    if gains:
        drawn.append(figures(effects("Verified changes", _key(gains), gains[-MOST_ROWS:])))
    if verified:
        rows = [_verdict(entry, found) for entry, found in verified]
        parts.append(table("Verified changes, by their entries in the ledger", VERIFIED, rows))
    if now is not None:
        drawn.append(figures(looks(now)))
        parts.append(_verification(now))
    if drawn:
        parts.insert(0, grid(*drawn))
    return section("effects", "Whether changes helped", *(parts or [_none("No change was verified yet")]))


def _key(gains: list[Gain]) -> str:
    of = f" The latest {MOST_ROWS} of {len(gains)}." if len(gains) > MOST_ROWS else ""
    return f"How much lower the loss of a task is. Filled: found by verification; hollow: as proposed.{of}"


def _gains(of: Life, entry: Amendment, found: Verified) -> Iterator[Gain]:
    proposed = of.loops.get(entry.loop_id or "")
    if proposed is not None and proposed.effect is not None:
        effect = proposed.effect
        label = f"revision {entry.revision}, proposed"
        yield Gain(label, effect.gain, effect.low, effect.high, expected=True)
    if found.gain is not None and found.low is not None and found.high is not None:
        yield Gain(f"revision {entry.revision}", found.gain, found.low, found.high)


def _verdict(entry: Amendment, found: Verified) -> list[object]:
    gain = "too few blocks" if found.gain is None else f"{found.gain:+.3f}"
    interval = "" if found.low is None or found.high is None else f"{found.low:+.3f} to {found.high:+.3f}"
    return [
        entry.revision,
        lines(map(rendering.change_line, entry.changes)),
        f"{found.verdict}: {VERDICTS[found.verdict]}",
        found.blocks,
        gain,
        interval,
        found.ended_by,
    ]


def _verification(now: VerificationView) -> Html:
    """The one under way or the last one, as the command line tells it."""
    told = rendering.known(verification_rendering.facts(now))
    title = "The verification under way" if now.verdict is None else "The latest verification"
    shown = facts((name, each.plain) for name, each in told.items())
    rows = now.rows()
    passed = (
        table("Looks; a gain is claimed where p is at most the last figure", now.heads(), rows)
        if rows
        else Html()
    )
    return joined([element("h3", title), shown, passed])


# --- settings ---


def the_settings(of: Life) -> Html:
    """Each value now and the revisions that set it; those that never changed behind a line to open."""
    now = of.state.ledger.settings_view().values
    sets: dict[str, list[str]] = {}
    for entry in of.ledger:
        if entry.digest != entry.digest_before and entry.state not in NOT_ADOPTED:
            for change in entry.changes:
                sets.setdefault(change.key, []).append(_set(of, entry, change))
    heads = ["key", "now", "set by"]
    changed = [
        [key, rendering.toml(now[key]) if key in now else "not there any more", lines(told)]
        for key, told in sets.items()
    ]
    still = [[key, rendering.toml(value)] for key, value in now.items() if key not in sets]
    parts = [table("Values that the ledger saw change", heads, changed)] if changed else []
    if not changed:
        parts.append(_none("The ledger saw no value change"))
    others = table("Values as they were when the ledger begins", heads[:2], still)
    view = of.state.ledger.settings_view()
    title = f"Settings of revision {view.revision}, digest {view.digest}"
    behind = element("details", element("summary", f"{len(still)} values that did not change"), others)
    return section("settings", title, *parts, behind)


def _set(of: Life, entry: Amendment, change: Change) -> str:
    by = ", ".join(filter(None, [entry.decided_by or "a person's edit", of.name_of(entry.loop_id)]))
    values = f"{rendering.toml(change.old)} → {rendering.toml(change.new)}"
    return f"revision {entry.revision}, {rendering.moment(entry.decided_at)}, {by}: {values}"
