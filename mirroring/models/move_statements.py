"""The moves and questions of one import under its claim, prepared: they run for every import."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Case, Value, When

from mirroring.models.checks import check_time
from mirroring.models.claims import Claim, if_active
from mirroring.models.prepared import Changes, PreparedSelect, PreparedUpdate
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import AT_REST, MAY_FOLLOW, Status

if TYPE_CHECKING:
    from mirroring.models.moves import ImportStateQuerySet as Rows


def _held(rows: "Rows", mirror_id: int, epoch: int, now: datetime) -> "Rows":
    return rows.held(Claim(mirror_id, epoch), now=now)


@PreparedUpdate
def schedule(rows: "Rows", *, mirror_id: int, epoch: int, now: datetime, until: datetime) -> Changes:
    held = _held(rows, mirror_id, epoch, now).wanted().filter(status__in=MAY_FOLLOW[Status.SCHEDULED])
    to = {"status": Status.SCHEDULED, "last_update_scheduled_at": now, "claim_expires_at": until}
    return Changes(held, to)


@PreparedUpdate
def start(
    rows: "Rows", *, mirror_id: int, epoch: int, now: datetime, until: datetime, unasked: bool
) -> Changes:
    held = _held(rows, mirror_id, epoch, now).wanted().filter(status__in=MAY_FOLLOW[Status.STARTED])
    held = held.filter(urgent=False) if unasked else held
    to = {"status": Status.STARTED, "last_update_started_at": now, "claim_expires_at": until, "urgent": False}
    return Changes(held, to)


@PreparedUpdate
def settle(rows: "Rows", *, mirror_id: int, epoch: int, now: datetime, **how: Any) -> Changes:
    return at_rest(_held(rows, mirror_id, epoch, now), now=now, **how)


def at_rest(
    rows: "Rows",
    *,
    to: Status,
    now: datetime,
    asked_at: datetime,
    outcome: Outcome,
    next_execution_at: datetime,
    hard_failed: bool = False,
    check_first: bool = False,
    **changes: object,
) -> Changes:
    """Return what brings rows in flight to rest.

    `check_first`: what is due then is a check, and an import only if it finds something new. One that was asked for in
    the meantime is due at once, even if it would be given up; one that is paused or given up is not due.
    """
    next_at = Case(When(urgent=True, then=Value(now)), default=Value(next_execution_at))
    never = Value(None, output_field=models.DateTimeField())
    rests = never if hard_failed or check_first else Value(next_execution_at)
    asked = When(urgent=True, then=Value(asked_at, output_field=models.DateTimeField()))
    due = if_active(Case(asked, default=rests, output_field=models.DateTimeField()))
    gives_up = Case(When(urgent=True, then=Value(value=False)), default=Value(hard_failed))
    at_rest = {
        "status": to,
        "last_update_at": now,
        "last_outcome": outcome,
        "next_execution_at": next_at,
        "import_due_at": due,
        "check_due_at": check_time(next_execution_at if check_first and not hard_failed else None),
        "hard_failed": gives_up,
        "cancel_requested": False,
        "claim_expires_at": None,
        "claimed_at": None,
    }
    return Changes(rows.filter(status__in=MAY_FOLLOW[to]), at_rest | changes)


@PreparedSelect
def at_the_door(rows: "Rows", *, mirror_id: int, epoch: int, now: datetime) -> "Rows":
    held = _held(rows, mirror_id, epoch, now).wanted().filter(status__in=AT_REST)
    return held.select_related("host").only("claimed_at", "host")


@PreparedSelect
def running(rows: "Rows", *, mirror_id: int, epoch: int, now: datetime) -> "Rows":
    return _held(rows, mirror_id, epoch, now).wanted().filter(status=Status.STARTED).only("epoch")


@PreparedSelect
def held_in_flight(rows: "Rows", *, mirror_id: int, epoch: int, now: datetime) -> "Rows":
    return _held(rows, mirror_id, epoch, now).in_flight()
