"""Orders to the worker beside the settings file, on the task queue `<task queue>-files`."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from messages.files import (
        Rewrite,
        RewritePreview,
        RewriteReceipt,
        SettingsFile,
        SnapshotOrder,
        SnapshotReceipt,
    )
    from messages.names import files_queue
    from messages.notices import Notice, Notified
    from workflows.orders.terms import Terms, give

Answer = TypeVar("Answer")

AT_ONCE = Terms(
    # Without a files worker, whoever asked hears of it after this long.
    taken_within=timedelta(seconds=20),
    # A file is read or rewritten in milliseconds; one that cannot be just now may be with another attempt.
    done_within=timedelta(seconds=10),
    closed_within=timedelta(seconds=30),
    # Tried again: a file that is just being replaced. Not tried again: what a person must mend first.
    tried_again=RetryPolicy(
        initial_interval=timedelta(milliseconds=200),
        maximum_interval=timedelta(seconds=30),
        non_retryable_error_types=["InvalidSettings", "SettingsNotWritable"],
    ),
)
# Nobody waits for it: a worker that comes within the hour may still tell it.
A_NOTICE = Terms(
    done_within=timedelta(seconds=30),
    closed_within=timedelta(hours=1),
    tried_again=RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=3, maximum_attempts=4),
)
A_SNAPSHOT = replace(
    AT_ONCE,
    # It sends a heartbeat each second: a killed worker is noticed, a large image is not cut off.
    done_within=timedelta(minutes=10),
    closed_within=None,
    heartbeat_within=timedelta(seconds=5),
    # What a person must mend is not tried again; what a killed worker left undone is.
    tried_again=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=5),
)


async def read_settings() -> SettingsFile:
    return await _give("read_settings", answer=SettingsFile, summary="Read settings.toml")


async def preview_rewrite(order: Rewrite, summary: str, terms: Terms) -> RewritePreview:
    return await _give("preview_rewrite", order, answer=RewritePreview, summary=summary, terms=terms)


async def rewrite_settings(order: Rewrite, summary: str, terms: Terms | None = None) -> RewriteReceipt:
    return await _give("rewrite_settings", order, answer=RewriteReceipt, summary=summary, terms=terms)


async def notify_person(notice: Notice) -> Notified:
    again = " again" if notice.reminder else ""
    summary = f"Tell a person{again}, if settings.toml says how"
    return await _give("notify_person", notice, answer=Notified, summary=summary, terms=A_NOTICE)


async def write_snapshot(order: SnapshotOrder) -> SnapshotReceipt:
    summary = "Write a snapshot"
    return await _give("write_snapshot", order, answer=SnapshotReceipt, summary=summary, terms=A_SNAPSHOT)


async def _give(
    name: str, *order: Any, answer: type[Answer], summary: str, terms: Terms | None = None
) -> Answer:
    queue = files_queue(workflow.info().task_queue)
    return await give(name, *order, answer=answer, terms=terms or AT_ONCE, summary=summary, queue=queue)
