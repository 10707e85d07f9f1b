"""project_import_schedule: one mirror through the door, to `scheduled`, and on to the import."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum

from mirroring.models import Claim, Host, ImportState, SchedulingSettings
from mirroring.rules.states import IN_FLIGHT
from mirroring.tracker.job_tracker import Door, JobTracker, Room

logger = logging.getLogger(__name__)


class Passage(StrEnum):
    """What became of one job at the door."""

    SCHEDULED = "scheduled"
    BOUNCED = "bounced"
    STALE = "stale"
    HELD_BACK = "held back"


def project_import_schedule(
    claim: Claim, *, now: datetime, tracker: JobTracker, enqueue: Callable[[Claim], object]
) -> Passage:
    """Take an importing slot for a claimed mirror and hand it to the import. Run twice, the second is a no-op.

    The row is asked before the slot is taken, and decides after: a duplicate message neither takes a slot nor gives
    one away.
    """
    configured = SchedulingSettings.current()
    row = ImportState.objects.at_the_door(claim, now=now)
    if row is None:
        return _stale(claim, now=now, tracker=tracker)
    if configured.holds_all_back:
        tracker.forget(claim.token)
        ImportState.objects.give_back([claim], now=now)
        return Passage.HELD_BACK
    door = tracker.door(
        claim.token,
        capacity=configured.mirror_max_capacity,
        lease=configured.lease,
        waited=max(timedelta(0), now - (row.claimed_at or now)),
        room=_room(row.host, configured=configured, now=now),
    )
    if door is not Door.OPEN:
        ImportState.objects.give_back([claim], now=now)
        logger.info(
            "no room at the door", extra={"mirror": claim.mirror_id, "epoch": claim.epoch, "door": door.name}
        )
        return Passage.BOUNCED
    if not ImportState.objects.schedule(claim, now=now, until=now + configured.lease):
        return _stale(claim, now=now, tracker=tracker)
    enqueue(claim)
    return Passage.SCHEDULED


def _room(host: Host, *, configured: SchedulingSettings, now: datetime) -> Room:
    """Return what the host may hold of the capacity that is set: this step does not know the one in force."""
    bounds = configured.host_bounds(configured.mirror_max_capacity)
    return Room(host=host.pk, slots=host.limit(bounds, now=now))


def _stale(claim: Claim, *, now: datetime, tracker: JobTracker) -> Passage:
    """Count a message that came too late or twice. What it may hold is freed, unless its mirror is in flight."""
    tracker.note("stale_messages")
    rows = ImportState.objects.filter(mirror_id=claim.mirror_id, epoch=claim.epoch)
    if not rows.filter(status__in=IN_FLIGHT).exists():
        tracker.forget(claim.token)
        ImportState.objects.give_back([claim], now=now)
    return Passage.STALE
