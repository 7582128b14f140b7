"""How the desk shows things: rich renderables of messages, and plain JSON.

Text from models, people and files goes through `words`: never does it act on the terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from messages.visible import visible

if TYPE_CHECKING:
    from configuration import Value
    from messages.image import Amendment, HistoryEntry, ImageStatus, Means
    from messages.loops import Change
    from messages.memory import Recollection
    from messages.tasks import DialogueResult, Dissonance, PerformanceLog, TaskView

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

STYLES = {
    "active": "green",
    "paused": "yellow",
    "running": "cyan",
    "queued": "dim",
    "approved": "green",
    "adopted": "green",
    "converged": "green",
    "pending": "yellow",
    "stale": "yellow",
    "failed": "red",
    "rejected": "red",
    "refused": "red",
    "ok": "green",
    "warning": "yellow",
    "broken": "red",
    "improved": "green",
    "kept_unconfirmed": "green",
    "harmful": "red",
    "no_difference": "yellow",
    "superseded": "yellow",
}
DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def words(text: object, style: str = "") -> Text:
    """Any text as itself, of whatever length."""
    return Text(visible(str(text)), style=style, overflow="fold")


def whole(text: object, style: str = "") -> RenderableType:
    """Any text that is never broken into lines, so that what is in it can be clicked and copied."""
    line = words(text, style)
    line.no_wrap, line.overflow = True, "ignore"
    return Group(line)  # by itself it would be joined to what else is printed, and be broken


def print_json(value: Any) -> None:
    # Escaped to ASCII: a terminal must not act on what a model said, whatever its encoding.
    print(json.dumps(value, indent=2, default=lambda model: model.model_dump(mode="json")), flush=True)


def moment(when: datetime | None) -> str:
    """A date and time where the person is."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M") if when else ""


def dissonance(said: Dissonance) -> Text:
    if said.value is None:
        return words(f"none given ({said.missing})" if said.missing else "none given", "yellow")
    return words(f"{said.value:.2f} ({(said.label or 'no label').replace('_', ' ')})")


def change_line(change: Change) -> str:
    return f"{change.key}: {toml(change.old)} → {toml(change.new)}"


def changes(of: Iterable[Change]) -> Text:
    return words("\n".join(change_line(change) for change in of))


# --- the image ---


def status(image: ImageStatus, ended: str, inbox: str | None, *alarms: RenderableType) -> RenderableType:
    """How the image is; `alarms` stand last, where the person's eye is."""
    link = whole(f"Inbox: {inbox or 'in the Web UI, the list query NeedsHuman = true'}")
    parts: list[RenderableType] = [fields(status_facts(image, ended)), link]
    for loop_id, obstacle in image.obstacles.items():
        parts.append(whole(f"{loop_id} waits and tries again: {obstacle}", "yellow"))
    if image.settings_problem:
        parts.append(whole(f"settings.toml was refused: {image.settings_problem}", "red"))
    if image.snapshot_problem:
        parts.append(whole(f"The last snapshot failed: {image.snapshot_problem}", "red"))
    if image.set_aside:
        aside = new_table("when", "message", "why", "what", title="Set aside: messages that did not validate")
        for item in image.set_aside:
            aside.add_row(moment(item.at), words(item.what), words(item.reason), words(item.excerpt))
        parts.append(aside)
    return Group(*parts, *alarms)


def status_facts(image: ImageStatus, ended: str) -> dict[str, Text]:
    return {
        "image": words(image.image_id, "bold"),
        "phase": styled(f"{image.phase} (its workflow is {ended})" if ended else image.phase),
        "model": words(image.model_backend or "none has answered yet"),
        "tasks": words(
            f"{image.running} running, {image.queued} queued, "
            f"{image.finished} finished, {image.failed} of these failed"
        ),
        "logs in the window": words(image.window),
        "next look at the logs": words(moment(image.next_look_at) or "not planned"),
        **_motivation(image),
        "open loops": words("\n".join(image.waiting_loops) or "none"),
        "settings": words(f"revision {image.revision}, digest {image.digest}"),
        **known({"verification": words(image.verification, "yellow")}),
        "conditions": words(image.conditions or "no argument has told them yet"),
        "arguments under them": words(figures(image.figures)),
        "last snapshot": words(
            f"generation {image.saved_generation}, {moment(image.saved_at)}" if image.saved_at else "none yet"
        ),
        "alive since": words(f"{moment(image.started_at)}, now in run {image.runs}"),
    }


def _motivation(image: ImageStatus) -> dict[str, Text]:
    """The rows about goals of its own, for an image that has any."""
    goals = {
        "next look for a goal": words(moment(image.next_goal_at)),
        "last goal": words(image.last_inquiry),
    }
    return known(goals)


def tasks(views: list[TaskView]) -> RenderableType:
    table = new_table("task", "phase", "outcome", "given at", "question")
    for view in views:
        question = words(view.task)
        if view.reason:
            question.append_text(words(f"\nthe personas' own goal; {view.reason}", "dim"))
        if view.failure:
            question.append_text(words(f"\n{view.failure}", "red"))
        if view.rating is not None:
            by = f" by {view.rated_by}" if view.rated_by else ""
            question.append_text(
                words(f"\nrated {view.rating:g}{by}. {view.rating_comment}".rstrip(), "cyan")
            )
        table.add_row(
            words(view.task_id),
            styled(view.phase),
            styled(view.outcome or ""),
            moment(view.submitted_at),
            question,
        )
    return table if views else Text("No tasks yet.")


def logs(window: list[PerformanceLog]) -> RenderableType:
    table = new_table("task", "outcome", "dissonance", "turns", "seconds", "tokens", "rating", "finished at")
    for log in window:
        final = log.final_dissonance
        table.add_row(
            words(log.task_id),
            styled(log.outcome),
            Text("none given", "yellow") if final is None else f"{final:.2f}",
            str(log.turn_count),
            f"{log.seconds:.1f}",
            f"{log.tokens_in}+{log.tokens_out}",
            "" if log.rating is None else f"{log.rating:g}",
            moment(log.finished_at),
        )
    return table if window else Text("No logs in the window.")


def amendments(ledger: list[Amendment]) -> RenderableType:
    if not ledger:
        return Text("No amendments yet: the settings are those the image was started with.")
    return Group(*(_amendment(entry) for entry in ledger))


def history(entries: list[HistoryEntry]) -> RenderableType:
    if not entries:
        return amendments([])
    return Group(*(_episode(entry) for entry in entries))


def _episode(entry: HistoryEntry) -> RenderableType:
    """An amendment with its diff, and the figures on both sides of it where it was not verified."""
    amended = entry.amendment
    told = "" if amended.changes_conditions else amended.justification  # told there already
    lines = [words(told)] if told else []
    lines += map(words, before_and_after(entry))
    return paragraph(_amendment(amended), *lines)


def before_and_after(entry: HistoryEntry) -> list[str]:
    """The figures on both sides of a change that was not verified."""
    if entry.amendment.state not in ("approved", "adopted") or entry.amendment.verified is not None:
        return []
    return [f"before: {figures(entry.before)}", f"after:  {figures(entry.after)}"]


def figures(means: Means) -> str:
    if not means.arguments:
        return "no arguments on record"
    each = (
        ("mean dissonance", means.dissonance),
        ("turns", means.turns),
        ("tokens", means.tokens),
    )
    told = [f"{name} {'unknown' if figure is None else f'{figure:g}'}" for name, figure in each]
    return (
        f"{means.arguments} argument{'s' * (means.arguments != 1)} ({means.failed} failed), {', '.join(told)}"
    )


def _amendment(entry: Amendment) -> RenderableType:
    head = words(f"revision {entry.revision}  {moment(entry.decided_at)}  ")
    head.append_text(styled(entry.state))
    for part in (entry.decided_by and f"by {entry.decided_by}", entry.loop_id or entry.source):
        if part:
            head.append_text(words(f", {part}", "default"))
    lines = [words(remark) for remark in remarks(entry)]
    if entry.verified is not None:
        lines.append(words(entry.verified, STYLES[entry.verified.verdict]))
    return paragraph(head, *([changes(entry.changes)] if entry.changes else []), *lines)


def remarks(entry: Amendment) -> list[str]:
    """What was said of an amendment, and what other conditions came with it."""
    changed = f"{entry.justification}: {entry.conditions_before} → {entry.conditions}"
    told = (changed if entry.changes_conditions else "", entry.comment, entry.reason)
    return [remark for remark in told if remark]


def paragraph(head: RenderableType, *lines: RenderableType) -> RenderableType:
    """One of several things told in a few lines each, where columns would be too narrow."""
    return Group(head, *(Padding(line, (0, 0, 0, 2), expand=False) for line in lines))


# --- a task ---


def spoken(persona: str, text: str) -> RenderableType:
    return Group(Text(f"  {persona}", "cyan"), Padding(words(text), (0, 0, 0, 4), expand=False))


def recalled(items: list[Recollection], means: str) -> RenderableType:
    """What BABS was handed of earlier tasks, and by which means it was found."""
    head = f"Recalled by {means}" if items else f"Recalled nothing that bears on this task: by {means}"
    return paragraph(words(head), *(words(f"{item.score:.2f}  {item.task}") for item in items))


def memories(items: list[Recollection], means: str) -> RenderableType:
    """What a search of the memory found, in full."""
    entries = [
        paragraph(words(f"{item.score:.2f}  {item.task_id}", "bold"), words(item.task), words(item.synthesis))
        for item in items
    ]
    found = f"{len(items)} found by {means}" if items else f"Nothing found by {means}"
    return Group(*entries, words(found, "dim"))


def result(of: DialogueResult) -> RenderableType:
    turns = new_table("turn", "dissonance")
    for number, said in enumerate(of.dissonance, 1):
        turns.add_row(str(number), dissonance(said))
    facts = {
        "task": words(of.task_id),
        "outcome": styled(of.outcome),
        "model": words(of.model_backend),
        "settings": words(f"revision {of.revision}, digest {of.log.settings_digest}"),
        "took": words(f"{of.log.seconds:.1f} s, {of.log.tokens_in} tokens in, {of.log.tokens_out} out"),
    }
    parts: list[RenderableType] = [
        Text("Synthesis", "bold"),
        words(of.synthesis),
        Text(),
        turns,
        fields(facts),
    ]
    if of.recalled_by:
        parts += [Text(), recalled(of.recalled, of.recalled_by)]
    return Group(*parts)


# --- parts ---


def diff(text: str) -> RenderableType:
    return Group(*(words(line, DIFF_STYLES.get(line[:1], "")) for line in text.splitlines()))


def styled(word: str) -> Text:
    """A state or phase in its colour."""
    return words(word, STYLES.get(word.split(" ", maxsplit=1)[0], ""))


def new_table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def fields(rows: Mapping[str, Text]) -> Table:
    table = new_table("", "")
    table.show_header = False
    for name, value in rows.items():
        table.add_row(words(name, "dim"), value)
    return table


def known(rows: Mapping[str, Text]) -> dict[str, Text]:
    """The rows of fields that say something."""
    return {name: row for name, row in rows.items() if row}


def toml(value: Value) -> str:
    # JSON and TOML write these types alike, up to escapes that no key needs.
    return json.dumps(value, ensure_ascii=False)
