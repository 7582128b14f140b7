"""Where approvers are named, nothing is written on the word of a workflow: a files worker sees for itself.

Whoever reaches the server may start a workflow of their own and give the orders that a loop gives. What
counts are the approvers in the file itself, as it stands at the moment before it is replaced.
"""

from datetime import UTC, datetime
from pathlib import Path

from activities.settings_rewriting import SettingsNotWritable, backups
from configuration import InvalidSettings, Settings
from configuration.reading import SettingsUnreadable, load_settings, resolve
from messages.files import Approval, Rewrite
from messages.requests import Decision
from messages.signers import Signers, Uncounted


def check_permitted(path: Path, order: Rewrite, present: Settings) -> None:
    """Refuse an order that the approvers of the present settings have not let through.

    Raises InvalidSettings; SettingsNotWritable where newer workers mend it.
    """
    decision, approval = order.decision, order.approval
    if not present.governance.approvers:
        return
    if order.by_person:
        _check_held_before(path, order)
    elif decision is None or decision.signature is None:
        raise _refused(order, present, "it is not signed")
    elif approval is None:
        # Given before an update of the workers. The loop gives it anew, with the signatures that it has.
        raise SettingsNotWritable(
            f"{order.loop_id} was ordered by a worker of an earlier version, which does not hand signatures "
            "on; start all workers with the present version, and it is carried out"
        )
    else:
        _check_signed(order, decision, approval, present)


def _check_signed(order: Rewrite, decision: Decision, approval: Approval, present: Settings) -> None:
    """Whether enough approvers have signed just what is about to be written, and not long ago."""
    agreed = [
        change.model_copy(update={"new": decision.changes.get(change.key, change.new)})
        for change in approval.proposed
    ]
    if order.changes != agreed:
        raise _refused(order, present, "what it changes is not what was approved")
    governance, digest = present.governance, approval.digest(order.loop_id)
    signers = Signers(governance.approvers, present.system.image_id, order.loop_id)
    signed: set[bytes] = set()
    reason = "it is not signed"
    for signature in approval.signatures:
        try:
            signer = signers.signer(decision, signature, digest)
        except Uncounted as error:
            reason = str(error)
            continue
        # It came in time, or no loop had taken it. No loop waits for longer than this to carry it out.
        if datetime.now(UTC) > signature.expires_at + governance.approval_timeout:
            reason = f"the signature of {signer.name} is too old by now"
            continue
        signed.add(signer.raw)
    if len(signed) < governance.quorum:
        if signed:
            reason = f"{len(signed)} of {governance.quorum} have signed it"
        raise _refused(order, present, reason)


def _check_held_before(path: Path, order: Rewrite) -> None:
    """A person's order takes no signature, for it brings back only what held before; see that it does."""
    wanted = {change.key: change.new for change in order.changes}
    for backup in backups(resolve(path)):
        try:
            held = load_settings(backup.path).flat()
        except (InvalidSettings, SettingsUnreadable):
            continue
        if wanted.items() <= held.items():
            return
    raise InvalidSettings(
        f"{order.loop_id} was refused: approvers decide on {path}, and no backup of it says that these "
        "values have held before; edit the file by hand"
    )


def _refused(order: Rewrite, present: Settings, reason: str) -> InvalidSettings:
    return InvalidSettings(
        f"{order.loop_id} was refused: it takes a signature of {present.governance.who_decides()}, and "
        f"{reason}; nothing was written, and `python starter.py reflect` has it proposed anew"
    )
