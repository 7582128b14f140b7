"""The image's settings and how they came to be what they are. Pure: no Temporal, no clock."""

from datetime import datetime
from itertools import pairwise

from pydantic import BaseModel

from configuration import InvalidSettings, Settings, Value
from messages.common import excerpt, part
from messages.files import SettingsFile
from messages.image import Amendment, HistoryEntry, Means, SettingsView, Tally
from messages.loops import Change, Decided, LoopConcluded, Past, Reasoned
from messages.tasks import PerformanceLog
from messages.verification import Verified
from workflows.bounded import keep_newest

AMENDMENT_BYTES = 30 * 1024
TALLY_BYTES = 10 * 1024
MOST_AMENDMENTS = 80
MOST_TALLIES = 60
MOST_PAST = 20

CONDITIONS_CHANGED = "prompts, models or the program changed"
"""The justification of an entry that nobody made in settings.toml."""

_UNSEEN = "settings.toml could not be read afterwards"
"""The reason on an approval that the file will still have to confirm."""


class NoWayBack(ValueError):
    """An earlier revision whose settings cannot hold again; the message says why."""


class UnheardRevert(BaseModel):
    """A revert by a person's order of which nobody could say whether it was carried out. `order` names it."""

    order: str
    source: str
    by: str
    comment: str = ""


class Ledger(BaseModel):
    """The adopted settings, every amendment that led to them, and how arguments went under each.

    amendments     the latest 80 entries; older ones: the workflows `<image_id>/loop/...`, and the numbered
                   copies in `settings.backups/`
    unheard        the last revert whose worker never answered: the file may say that it was carried out
    tallies        how arguments went under the latest 60 settings and conditions; older ones: the logs in the
                   workflows `<image_id>/task/...`
    conditions     what beside the settings the latest argument rests on, and the first task that did
    """

    settings: Settings
    revision: int = 1
    settings_problem: str = ""
    amendments: list[Amendment] = []
    unheard: UnheardRevert | None = None
    tallies: list[Tally] = []
    conditions: str = ""
    conditions_since: int = 0

    @property
    def digest(self) -> str:
        return self.settings.digest()

    def settings_view(self) -> SettingsView:
        return SettingsView(revision=self.revision, digest=self.digest, values=self.settings.flat())

    def tally(self, log: PerformanceLog) -> None:
        """Count a log to the settings and conditions it was made under."""
        told = {"digest": log.settings_digest, "conditions": log.conditions}
        tally = next((tally for tally in self.tallies if told.items() <= dict(tally).items()), None)
        if tally is None:
            tally = Tally(**told)
            self.tallies = keep_newest([*self.tallies, tally], MOST_TALLIES, TALLY_BYTES)
        tally.add(log)

    def figures(self, digest: str, *conditions: str) -> Means:
        """How arguments went under the settings of this digest, and under one of these conditions if any."""
        total = Tally(digest=digest)
        for tally in self.tallies:
            if tally.digest == digest and (not conditions or tally.conditions in conditions):
                total.merge(tally)
        return Means.of(total)

    def note_conditions(self, log: PerformanceLog, task_number: int, now: datetime) -> None:
        """Enter a change of prompts, models or program, which shows when an argument rests on others.

        `task_number` grows from each task that is started to the next: one that began before the change and
        ends after it is no news. Two workers that differ take two entries, however often they take turns.
        """
        if log.conditions in ("", self.conditions) or task_number < self.conditions_since:
            return
        before, self.conditions, self.conditions_since = self.conditions, log.conditions, task_number
        if not before:
            return
        entry = Amendment(
            revision=self.revision,
            digest_before=log.settings_digest,
            digest=log.settings_digest,
            source="person",
            justification=CONDITIONS_CHANGED,
            state="adopted",
            decided_at=now,
            conditions_before=before,
            conditions=log.conditions,
        )
        told_before = set[int]()
        for earlier in reversed(self.amendments):
            if not earlier.changes_conditions:
                break
            if earlier.model_copy(update={"decided_at": now}) == entry:
                told_before.add(id(earlier))
        self.amendments = [earlier for earlier in self.amendments if id(earlier) not in told_before]
        self._enter(entry)

    def file_conclusion(self, conclusion: LoopConcluded, file: SettingsFile | None) -> None:
        """Enter how a loop ended, and take over the settings as the file now holds them.

        The file is the truth: where a person edited it after the rewrite, that is an amendment of its own.
        """
        before = self.digest
        unseen = file is None and conclusion.state == "approved"
        bounded = {
            "source": conclusion.source or "loop",
            "justification": excerpt(conclusion.justification, 300),
            "reason": excerpt(conclusion.reason, 400) or _UNSEEN * unseen,
        }
        entry = Amendment(
            revision=self.revision,
            digest_before=before,
            digest=before,
            loop_id=conclusion.loop_id,
            state=conclusion.state,
            decided_at=conclusion.decided_at,
            **part(Reasoned, conclusion) | part(Decided, conclusion) | bounded,
        )
        if file is not None and conclusion.state == "approved" and self._is_confirmed(entry, file):
            entry = self._approved(entry)
        self._enter(entry)
        if file is not None:
            self.adopt_file(file, conclusion.decided_at)

    def adopt_file(self, file: SettingsFile, now: datetime) -> bool:
        """Take over what settings.toml says by now. False when it says what holds already.

        A rewrite that was approved may be done though nobody could say so, as when its worker was killed:
        what it changed is then its amendment, and only what differs beyond that is the owner's.
        """
        late = next((entry for entry in self.amendments if self._was_carried_out(entry, file)), None)
        if late is not None:
            # It changed nothing where it stands, so no revision after it rests on it.
            self.amendments = [entry for entry in self.amendments if entry is not late]
            self._enter(self._approved(late))
        revert, self.unheard = self.unheard, None
        if revert is not None and revert.order == file.last_loop:
            told = {"source": revert.source, "comment": revert.comment}
            return self.adopt_edit(file.settings, revert.by, now, **told)
        return self.adopt_edit(file.settings, file.owner, now) or late is not None

    def _was_carried_out(self, entry: Amendment, file: SettingsFile) -> bool:
        """Whether an approval that has changed nothing so far is in the file after all."""
        changed_nothing = bool(entry.digest) and entry.digest == entry.digest_before
        return (
            (entry.reason == _UNSEEN or entry.state == "failed")
            and bool(entry.decided_by)
            and changed_nothing
            and entry.loop_id == file.rewritten_by
            and self._is_confirmed(entry, file)
        )

    def _is_confirmed(self, entry: Amendment, file: SettingsFile) -> bool:
        """Whether the file has an entry's changes, and we not yet. Anybody may send a conclusion's signal."""
        changes = self._tunable(entry)
        if not changes.items() <= file.settings.flat().items():
            return False
        try:
            return self.settings.with_changes(changes) != self.settings
        except InvalidSettings:
            # They hold only with what a person has edited beside them: it is all that person's edit then.
            return False

    def _approved(self, entry: Amendment) -> Amendment:
        """Adopt what an entry changes, and the entry as that of the new revision."""
        before = self.digest
        self._adopt(self.settings.with_changes(self._tunable(entry)))
        news = {"revision": self.revision, "digest_before": before, "digest": self.digest}
        return entry.model_copy(update={**news, "state": "approved", "reason": ""})

    def adopt_edit(
        self, settings: Settings, owner: str, now: datetime, *, source: str = "person", comment: str = ""
    ) -> bool:
        """Take over a person's edit of settings.toml. False when it says what holds already."""
        self.settings_problem = ""
        before = self.digest
        if settings.digest() == before:
            return False
        changes = changes_between(self.settings, settings)
        anew = self.settings.declared_anew(settings)
        said = [f"declares anew what may be tuned: {', '.join(anew)}"] if anew else []
        if self.settings.governance.deciders() != settings.governance.deciders():
            said.append(f"says anew who may decide: {settings.governance.who_decides()}")
        self._adopt(settings)
        self._enter(
            Amendment(
                revision=self.revision,
                digest_before=before,
                digest=self.digest,
                source=source,
                changes=changes,
                justification=excerpt("; ".join(said), 300),
                state="adopted",
                decided_by=owner,
                comment=comment,
                decided_at=now,
            )
        )
        return True

    def why_not_mine(self, settings: Settings) -> str:
        """Why these settings cannot be this image's, or nothing."""
        own = self.settings.system.image_id
        if settings.system.image_id != own:
            return (
                f'[system] image_id = "{settings.system.image_id}": this image is "{own}" and '
                "keeps its name; restart the worker to run another image"
            )
        return why_not_there(self.settings.system.task_queue, settings.system.task_queue)

    def settings_at(self, revision: int) -> Settings | None:
        """The settings of an earlier revision, by undoing the ledger; None where it does not reach back.

        Raises InvalidSettings where today's rules forbid what held then.
        """
        undone: dict[str, Value] = {}
        reached = self.revision
        for earlier, entry in reversed(list(pairwise([None, *self.amendments]))):
            if reached <= revision or entry is None:
                break
            # An entry that changed nothing has the revision of the one before it.
            if entry.revision > earlier.revision if earlier else entry.digest != entry.digest_before:
                undone |= {change.key: change.old for change in entry.changes}
                reached -= 1
        # What a person declares in [custom] is not undone: it says what may be tuned from now on.
        still = self.settings.flat().keys()
        undone = {key: value for key, value in undone.items() if key in still}
        return self.settings.with_changes(undone) if reached == revision else None

    def changes_back_to(self, revision: int) -> list[Change]:
        """What going back to the settings of an earlier revision changes. Raises NoWayBack."""
        if not 1 <= revision < self.revision:
            raise NoWayBack(
                f"revision {revision} is not an earlier one; "
                f"{self.settings.system.image_id} is at {self.revision}"
            )
        try:
            settings = self.settings_at(revision)
        except InvalidSettings as error:
            raise NoWayBack(f"revision {revision} cannot hold any more: {error}") from None
        if settings is None:
            raise NoWayBack(f"the ledger does not reach back to revision {revision}; see settings.backups/")
        changes = changes_between(self.settings, settings)
        if not changes:
            raise NoWayBack(f"the settings are those of revision {revision} already")
        return changes

    def latest_change(self, *states: str, since: int = 0) -> Amendment | None:
        """The latest change of what may be tuned after a revision, of those in these states."""
        return next(
            (
                entry
                for entry in reversed(self.amendments)
                if entry.revision > since and entry.state in states and self._tunable(entry)
            ),
            None,
        )

    def note_verified(self, revision: int, verified: Verified) -> None:
        """Enter whether the change of a revision has helped; in the place of what was known of it before."""
        for number, entry in enumerate(self.amendments):
            if entry.revision == revision and entry.digest != entry.digest_before:
                self.amendments[number] = entry.model_copy(update={"verified": verified})

    def past(self) -> list[Past]:
        """The latest changes and proposals, for whoever thinks of the next one."""
        return [
            Past(changes=entry.changes, state=entry.state, digest=entry.digest_before, **part(Decided, entry))
            for entry in self.amendments[-MOST_PAST:]
            if entry.changes
        ]

    def history(self) -> list[HistoryEntry]:
        """Every amendment with how arguments went before and after it, oldest first.

        On both sides of a change of the settings under the same conditions: what changed later is not its
        effect. Logs from outside tell no conditions, and count there.
        """
        return [
            HistoryEntry(
                amendment=entry,
                before=self.figures(entry.digest_before, *_comparable(entry, entry.conditions_before)),
                after=self.figures(entry.digest, *_comparable(entry, entry.conditions)),
            )
            for entry in self.amendments
        ]

    def _tunable(self, entry: Amendment) -> dict[str, Value]:
        tunables = self.settings.tunables()
        return {change.key: change.new for change in entry.changes if change.key in tunables}

    def _adopt(self, settings: Settings) -> None:
        self.settings = settings
        self.revision += 1

    def _enter(self, amendment: Amendment) -> None:
        if not amendment.conditions:
            now = {"conditions_before": self.conditions, "conditions": self.conditions}
            amendment = amendment.model_copy(update=now)
        self.amendments = keep_newest([*self.amendments, amendment], MOST_AMENDMENTS, AMENDMENT_BYTES)


def _comparable(entry: Amendment, conditions: str) -> list[str]:
    """Of which conditions an entry's figures are; of all where it tells none."""
    return [conditions, *([""] * (not entry.changes_conditions))] if conditions else []


def changes_between(before: Settings, after: Settings) -> list[Change]:
    """Every key that both have and whose value differs, with both values."""
    return [Change(key=key, old=old, new=new) for key, (old, new) in before.changes_to(after).items()]


def why_not_there(own_queue: str, task_queue: str) -> str:
    """Why an image that lives on its own task queue cannot be on this one, or nothing."""
    if task_queue == own_queue:
        return ""
    return (
        f'[system] task_queue = "{task_queue}": this image lives on "{own_queue}" and cannot move; '
        "set it back"
    )
