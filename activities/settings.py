"""The activities on settings.toml: read it, preview a rewrite, rewrite it."""

import difflib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.failures import MOST_CHARACTERS
from activities.hosted import Files, file_of_asking
from activities.settings_permission import check_permitted
from activities.settings_rewriting import SettingsNotWritable, newest_rewrite, plan, rewrite
from configuration import InvalidSettings, Settings
from configuration.reading import SettingsUnreadable, load_settings, login, read_text, resolve
from messages.files import Rewrite, RewritePreview, RewriteReceipt, SettingsFile

LINE_CHARACTERS = 400
DIFF_LINES = 120
"""A proposal changes three values at most. What is longer is somebody's text beside them, in every answer."""


class SettingsFiles:
    """The activities on the settings file of whoever asks. They block: run them in a thread pool."""

    def __init__(self, files: Files) -> None:
        self._files = files

    @activity.defn
    def read_settings(self) -> SettingsFile:
        """The file as it stands. Fails with InvalidSettings (for good) or SettingsUnreadable."""
        with reported():
            path = file_of_asking(self._files)
            file = resolve(path)
            settings = load_settings(path)
            digest = settings.digest()
            newest = newest_rewrite(file)
            loop_id = newest.loop_id if newest else ""
            return SettingsFile(
                settings=settings,
                digest=digest,
                owner=login(file.stat().st_uid),
                last_loop=loop_id if newest and newest.target == digest else "",
                rewritten_by=loop_id,
            )

    @activity.defn
    def preview_rewrite(self, order: Rewrite) -> RewritePreview:
        """What a rewrite would do to the file; writes nothing. Fails as `read_settings` does."""
        with reported():
            path = file_of_asking(self._files)
            before = read_text(path)
            planned = plan(path, before, order.changes, order.by_person)
            diff = _diff(path.name, before, planned.text)
            return RewritePreview(diff=_masked(diff, planned.settings), stale=planned.stale)

    @activity.defn
    def rewrite_settings(self, order: Rewrite) -> RewriteReceipt:
        """Change the keys of one order in the file, once, however often it is asked for.

        A retry that finds the order carried out answers with the settings the file holds now. Fails with
        InvalidSettings (for good), SettingsUnreadable or SettingsNotWritable.
        """
        with reported():
            _check_approved(order)
            file = file_of_asking(self._files)
            permit = partial(check_permitted, file, order)
            return rewrite(file, order, activity.info().workflow_run_id or "", permit)


def _check_approved(order: Rewrite) -> None:
    """Where the file is written, too, a loop's order counts only with a person's approval."""
    if not order.by_person and (order.decision is None or order.decision.verdict != "approve"):
        raise InvalidSettings(f"the order of {order.loop_id} rests on no approval; nothing was written")


def _diff(name: str, before: str, after: str) -> str:
    """A unified diff; long lines are cut, and a long diff."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), name, f"{name} (proposed)", lineterm=""
    )
    told = [_shortened(line, LINE_CHARACTERS) for line in lines]
    if len(told) > DIFF_LINES:
        told = [*told[:DIFF_LINES], f" … {len(told) - DIFF_LINES:,} more lines"]
    return "\n".join(told)


def _masked(diff: str, settings: Settings) -> str:
    """Without the words of `notify`: they stay on the machine of the file, and may stand near a change."""
    for word in settings.governance.notify:
        for written in (json.dumps(word), json.dumps(word, ensure_ascii=False), f"'{word}'"):
            diff = diff.replace(written, '"…"')
    return diff


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… {len(text) - limit:,} more characters"


@contextmanager
def reported() -> Iterator[None]:
    """Let Temporal tell the failures apart by name. Only an invalid file does not mend on a retry."""
    try:
        yield
    except (InvalidSettings, SettingsUnreadable, SettingsNotWritable) as error:
        final = isinstance(error, InvalidSettings)
        raise ApplicationError(
            _shortened(str(error), MOST_CHARACTERS), type=type(error).__name__, non_retryable=final
        ) from None
    except OSError as error:
        raise ApplicationError(f"{error}; see to the disk", type="SettingsUnreadable") from error
