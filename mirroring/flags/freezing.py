"""Change freezes: begun and ended in the audit of flags, sealed as the changes that they hold back."""

from datetime import datetime
from typing import Any

from django.db import transaction

from mirroring.flags import audit
from mirroring.models.change_freeze import ChangeFreeze


@transaction.atomic
def begin(reason: str, *, by: str, origin: str, now: datetime) -> ChangeFreeze:
    """Begin a freeze; one that holds already is kept, with its own reason."""
    audit.lock()
    held = ChangeFreeze.current()
    if held is not None:
        return held
    held = ChangeFreeze.begin(reason, by=by, now=now)
    _note(before=None, after=held, by=by, origin=origin, why=reason, now=now)
    return held


@transaction.atomic
def end(*, by: str, origin: str, why: str = "", now: datetime) -> bool:
    """End the freeze. False if there was none."""
    audit.lock()
    held = ChangeFreeze.current()
    if held is None or not ChangeFreeze.end(by=by, now=now):
        return False
    _note(before=held, after=None, by=by, origin=origin, why=why, now=now)
    return True


def _note(*, before: ChangeFreeze | None, after: ChangeFreeze | None, **fields: Any) -> None:
    now = fields.pop("now")
    sides = {"before": audit.freeze_as_json(before), "after": audit.freeze_as_json(after)}
    audit.append(at=now, flag=audit.FREEZE, overrides=[], gates=[], snapshot={}, **fields, **sides)
