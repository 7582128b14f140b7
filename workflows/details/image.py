"""The page of a living image."""

from messages.image import Amendment, SetAside
from messages.names import INBOX_QUERY
from messages.tasks import TaskView
from messages.verification import PINNED, VerificationView, Verified, gain_in_words
from workflows.details.parts import (
    LATEST,
    WORKFLOWS,
    from_to,
    link,
    listed,
    moment,
    more,
    page,
    section,
    table,
)
from workflows.details.text import RED, line, prose
from workflows.image_state import ImageState
from workflows.image_status import status_of

INBOX = f'<a href="{WORKFLOWS}?query={INBOX_QUERY}">everything that waits for a person</a>'


def image_details(state: ImageState) -> str:
    """What the image is, what it does and what it waits for."""
    waiting = [_open_loop(state, loop) for loop in state.open_loops]
    running = [f"{_task(state, task.task_id, task.task)}, running" for task in state.running[-LATEST:]]
    finished = [_finished(state, task) for task in state.finished[-LATEST:]]
    verification = state.verifying.view()
    parts = [
        _pinned(verification),
        _facts(state),
        section("Waits for a person", listed(waiting or ["nothing"]), f"<p>The inbox: {INBOX}</p>"),
        _verification(verification),
    ]
    if state.ledger.settings_problem:
        parts.append(section("settings.toml was refused", prose(state.ledger.settings_problem, 600)))
    if problem := state.keeping.problem:
        parts.append(section("The last snapshot failed", prose(problem, 600)))
    if running or finished:
        parts.append(section("Latest tasks", listed([*running[::-1], *finished[::-1]])))
    if state.ledger.amendments:
        latest = state.ledger.amendments[: -LATEST - 1 : -1]
        parts.append(section("Latest amendments", listed(map(_amendment, latest))))
    parts.append(section("What to do here", _what_to_do()))
    if state.set_aside:
        aside = listed(map(_aside, state.set_aside[: -LATEST - 1 : -1])) + more(state.set_aside, LATEST)
        parts.append(section("Set aside: messages that could not be read", aside))
    return page(f"Living image {line(state.image_id)}", *parts)


def _facts(state: ImageState) -> str:
    status = status_of(state)
    tasks = f"{status.running} running, {status.queued} queued, {status.finished} finished"
    saved = f"{status.saved_generation}, {moment(status.saved_at)}" if status.saved_at else "none yet"
    return table(
        [
            ("phase", status.phase),
            ("model", line(status.model_backend or "none has answered yet")),
            ("tasks", f"{tasks}, {status.failed} of them failed"),
            ("log window", f"{status.window} logs"),
            ("settings", f"revision {status.revision}, digest {status.digest}"),
            ("last snapshot", saved),
        ]
    )


def _pinned(view: VerificationView | None) -> str:
    if view is None or not view.pinned:
        return ""
    why = f"{line(view.loop_id, 160)} does harm. Below is what to do about it"
    return f'<p><font color="{RED}"><b>{PINNED}: {why}.</b></font></p>'


def _verification(view: VerificationView | None) -> str:
    """The change that is being verified, or the last one, with what is known and what to send."""
    if view is None:
        return ""
    whose = "A person's edit" if view.by_person else link(view.loop_id, view.loop_id)
    of = f"<p>{whose}, revision {view.revision}, since {moment(view.since)}:</p>"
    changes = listed(map(from_to, view.changes[:2])) + more(view.changes, 2)
    # Figures of our own: there is nothing in them to make safe.
    looks = table(map(tuple, view.rows()), tuple(view.heads())) if view.rows() else ""
    return section(
        "Does the latest change help?", of, changes, prose(view.standing, 600), looks, _how_to_end(view)
    )


def _how_to_end(view: VerificationView) -> str:
    if view.settled:
        return ""
    if view.reversal:
        return f"<p>To decide: {link(view.reversal, view.reversal)}</p>"
    return (
        "<p>To end it: the update <code>end_verification</code> with <code>&#123;"
        '"action": "accept", "approver": "your name"&#125;</code> (the new values stay) or '
        '<code>"revert"</code> (those of before hold again)</p>'
    )


def _open_loop(state: ImageState, loop: str) -> str:
    if obstacle := state.obstacles.get(loop):
        return f"{link(loop, loop)} cannot get at settings.toml: {line(obstacle, 600)}"
    return f"{link(loop, loop)} has a proposal, or is looking for one"


def _task(state: ImageState, task_id: str, task: str) -> str:
    return link(state.task_workflow_id(task_id), task)


def _finished(state: ImageState, task: TaskView) -> str:
    outcome = {"max_turns": "out of turns"}.get(task.outcome or "", task.outcome)
    why = f": {line(task.failure, 120)}" if task.failure else ""
    return f"{_task(state, task.task_id, task.task)}, {outcome}{why}{_rating(task)}"


def _rating(task: TaskView) -> str:
    if task.rating is None:
        return ""
    by = f" by {line(task.rated_by, 80)}" if task.rated_by else ""
    comment = f": {line(task.rating_comment, 120)}" if task.rating_comment else ""
    return f", rated <b>{task.rating:g}</b>{by}{comment}"


def _amendment(amendment: Amendment) -> str:
    changes = [from_to(change) for change in amendment.changes[:2]]
    more = len(amendment.changes) - len(changes)
    what = "; ".join(changes) + (f" and {more} more" if more else "")
    who = f" by {line(amendment.decided_by, 120)}" if amendment.decided_by else ""
    source = link(amendment.loop_id, amendment.loop_id) if amendment.loop_id else "settings.toml"
    if amendment.changes_conditions:
        source, what = "not in settings.toml", line(amendment.justification)
    return (
        f"Revision {amendment.revision}, {moment(amendment.decided_at)}, {source}: "
        f"{amendment.state.replace('_', ' ')}{who} ({what or line(amendment.reason)})"
        f"{_verdict(amendment.verified)}"
    )


def _verdict(verified: Verified | None) -> str:
    if verified is None:
        return ""
    return f". <b>{line(verified.verdict)}</b>: {line(gain_in_words(verified.blocks, verified))}"


def _aside(item: SetAside) -> str:
    came = f"{moment(item.at)}, {line(item.what, 80)}"
    return f"{came}: {line(item.excerpt, 80)} ({line(item.reason, 120)})"


def _what_to_do() -> str:
    steps = [
        'the update <code>submit_task</code> with <code>&#123;"task": "your question"&#125;</code> '
        "gives the image a task",
        'the update <code>rate_task</code> with <code>&#123;"task_id": "...", "rating": 0.8&#125;</code> '
        "says what you think of an answer, from 0 to 1",
        "<code>verify_settings</code> verifies your latest edit of settings.toml, and "
        "<code>end_verification</code> ends what is being verified",
        "<code>reflect</code> makes it look at its logs now",
        "<code>pause</code> and <code>resume</code> stop it from starting tasks and let it start them again",
        "<code>retire</code> ends it for good once its running tasks are done",
    ]
    return (
        "<p><b>More Actions &#62; Send an Update</b>, at the top right of this page:</p>"
        + listed(steps)
        + "<p><i>Request Cancellation</i> changes nothing. The tab Queries shows all it knows.</p>"
    )
