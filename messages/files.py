"""The settings file and snapshots: orders to the activities of one machine, and their receipts."""

from pydantic import BaseModel

from configuration import Settings
from messages.loops import Change
from messages.requests import Decision, Signature
from messages.signatures import signed_digest


class SettingsFile(BaseModel):
    """settings.toml as it stands. `rewritten_by`: the loop or order that rewrote it last, or empty.

    `last_loop`: the same while the file still holds what that rewrite made of it, and empty after an edit.
    """

    settings: Settings
    digest: str
    owner: str
    last_loop: str = ""
    rewritten_by: str = ""


class Approval(BaseModel):
    """What approvers have signed, so that a files worker can see for itself; the decision is the order's.

    `settings_digest`: the settings that the loop began with. `shown`: the digest of all that was shown beside
    the changes.
    """

    settings_digest: str
    proposed: list[Change]
    shown: str
    signatures: list[Signature] = []

    def digest(self, loop_id: str) -> str:
        """That of the proposal, which the signatures name."""
        changes = [change.model_dump() for change in self.proposed]
        return signed_digest(loop_id, self.settings_digest, changes, self.shown)


class Rewrite(BaseModel):
    """The order to change keys of settings.toml. Carried out once for each (loop_id, target digest).

    An order that a person gave (`by_person`) may change any key, a loop's only the tunable ones, and only by
    the `decision` that it rests on; with `approval` where decisions are signed.
    """

    loop_id: str
    changes: list[Change]
    by_person: bool = False
    decision: Decision | None = None
    approval: Approval | None = None


class RewriteReceipt(BaseModel):
    """`stale` names the keys that a person changed meanwhile; then nothing was written."""

    settings: Settings
    digest: str
    stale: list[str] = []


class RewritePreview(BaseModel):
    """A unified diff of the file against what it would become, or the keys that are stale already.

    Of long lines and long diffs it holds the beginning; what is decided on are the changes.
    """

    diff: str
    stale: list[str] = []


class SnapshotOrder(BaseModel):
    """`place`: a folder, relative to that of settings.toml, or an fsspec URL. `generation`: the next one."""

    image_id: str
    place: str
    keep: int
    generation: int


class SnapshotReceipt(BaseModel):
    """A snapshot that was read back and holds. `bytes`: its size; `sha256` names its content."""

    path: str
    bytes: int
    sha256: str
    generation: int
