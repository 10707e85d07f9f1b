"""Repair: what dead workers, lost messages and lost stores left behind. It runs every few seconds, one at a time."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.db import InterfaceError, OperationalError, transaction

from mirroring.models import Claim, ImportAttempt, ImportState, Mirror, SchedulingSettings
from mirroring.models.checks import CHECKS_OVERDUE
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import AT_REST, IN_FLIGHT, Status
from mirroring.tracker.connection import RunClock
from mirroring.tracker.job_tracker import JobTracker, Lease, Pool
from mirroring.upstream.disk.repository import Repository

logger = logging.getLogger(__name__)

BATCH = 1000
PATIENCE = 2
"""Losses in a row after which a mirror is due again at once; from then on each counts as a failure, so that a
repository that kills its worker ends in a clear state and not in a loop."""

REPAIRER_LEASE = timedelta(seconds=10)
"""Short, for a repairer that dies must not hold up the next; two at once are harmless, each move being guarded."""

ATTEMPT_HISTORY = timedelta(days=30)


@dataclass(frozen=True)
class Repaired:
    """What a repair run found."""

    rebuilt: bool = False
    lost_messages: int = 0
    lost_imports: int = 0
    orphan_slots: int = 0
    poisoned: int = 0
    """Rows that could not be repaired: each is tried again at every run, and none stops the others."""
    abandoned_checks: int = 0
    overlong: int = 0
    """Claims and slots that would have lasted longer than any is given."""

    def __bool__(self) -> bool:
        return any(vars(self).values())


NextDue = Callable[..., datetime]


def repair(
    *, clock: RunClock, tracker: JobTracker, owner: str, next_due: NextDue, wake: Callable[[], None]
) -> Repaired:
    """Put right what is left behind, and wake the scheduler if anything was."""
    configured = SchedulingSettings.current()
    if not tracker.lead(owner, lease=REPAIRER_LEASE, role="repairer"):
        return Repaired()
    try:
        overlong = _overlong(now=clock.now(), lease=configured.lease, tracker=tracker)
        rebuilt = _rebuild(now=clock.now(), tracker=tracker)
        messages = _lost_messages(now=clock.now(), tracker=tracker)
        settle = partial(_bring_to_rest, now=clock.now(), configured=configured, next_due=next_due)
        imports, poisoned = _lost_imports(now=clock.now(), tracker=tracker, settle=settle)
        orphans = _orphan_slots(tracker=tracker)
        abandoned = _abandoned_checks(now=clock.now(), tracker=tracker)
    finally:
        tracker.resign(owner, role="repairer")
    _forget_old_attempts(now=clock.now())
    done = Repaired(
        rebuilt=rebuilt,
        lost_messages=messages,
        lost_imports=imports,
        orphan_slots=orphans,
        abandoned_checks=abandoned,
        poisoned=poisoned,
        overlong=overlong,
    )
    if done:
        logger.warning("repaired", extra=vars(done))
    if tracker.left_behind() or done:
        wake()
    return done


def _overlong(*, now: datetime, lease: timedelta, tracker: JobTracker) -> int:
    """Have claims and slots that would last longer than any is given end in a lease: the server's clock jumped back.

    Only those beyond two leases, for one may have been renewed since the clock was read. Who lives renews again.
    """
    end = {"beyond": now + 2 * lease, "until": now + lease}
    # The rows first: none is to outlast its slot.
    return ImportState.objects.shorten(**end) + tracker.shorten(**end)


def _rebuild(*, now: datetime, tracker: JobTracker) -> bool:
    """Tell the tracker what the rows hold, if the server lost its memory. Until then it admits nothing."""
    if tracker.counts(max_capacity=0).ready:
        return False
    claimed = ImportState.objects.filter(claim_expires_at__isnull=False)
    leases: dict[bool, list[Lease]] = {True: [], False: []}
    for row in claimed.only("mirror_id", "host_id", "epoch", "status", "claim_expires_at"):
        leases[row.status in IN_FLIGHT].append(
            Lease(token=row.claim.token, deadline=row.claim_expires_at or now, host=row.host_id)
        )
    return tracker.rebuild(processing=leases[False], importing=leases[True])


def _lost_messages(*, now: datetime, tracker: JobTracker) -> int:
    """Make rows due again whose claim ran out before the door: their message was lost, or came too late."""
    expired = ImportState.objects.expired(now=now)
    claims = [
        row.claim for row in expired.filter(status__in=AT_REST).only("mirror_id", "host_id", "epoch")[:BATCH]
    ]
    if not claims:
        return 0
    returned = expired.give_back(claims, now=now)
    standing = _standing(claims)  # One may have come through the door meanwhile, and keeps its slot.
    tracker.forget(*(claim.token for claim in claims if claim not in standing))
    tracker.note("repaired_messages", returned)
    return returned


def _lost_imports(
    *, now: datetime, tracker: JobTracker, settle: Callable[[ImportState], bool]
) -> tuple[int, int]:
    """Bring rows to rest whose worker is gone, and return how many, and how many could not be.

    A row that fails in a way that nobody foresaw must not keep the others from their repair, now or at the next run.
    """
    expired = ImportState.objects.expired(now=now).filter(status__in=IN_FLIGHT)
    lost = poisoned = 0
    for row in expired.select_related("mirror").order_by("?")[:BATCH]:
        try:
            settled = settle(row)
        except (OperationalError, InterfaceError):  # That is no matter of the row.
            raise
        except Exception:
            poisoned += 1
            logger.exception(
                "a row could not be repaired", extra={"mirror": row.mirror_id, "epoch": row.epoch}
            )
            continue
        if settled:
            lost += 1
            tracker.forget(row.claim.token)
    if lost:
        tracker.note("repaired_imports", lost)
    if poisoned:
        tracker.note("repairs_failed", poisoned)
    return lost, poisoned


def _bring_to_rest(
    row: ImportState, *, now: datetime, configured: SchedulingSettings, next_due: NextDue
) -> bool:
    """Say whether the row came to rest. Its staged work is revoked first, so that it can write nothing more."""
    _revoke(row.mirror, epoch=row.epoch)
    with transaction.atomic():
        settled = _settle_lost(row, now=now, configured=configured, next_due=next_due)
        if settled:
            ImportAttempt.objects.close(row.claim, at=now, outcome=Outcome.LOST, error="its worker vanished")
    return settled


def _revoke(mirror: Mirror, *, epoch: int) -> None:
    repository = Repository(mirror.repository)
    if repository.exists():
        repository.revoke(before=epoch + 1)


def _settle_lost(
    row: ImportState, *, now: datetime, configured: SchedulingSettings, next_due: NextDue
) -> bool:
    started = row.status == Status.STARTED
    lost_count = row.lost_count + started
    retry_count, next_at = row.retry_count, now
    if lost_count > PATIENCE:
        retry_count += 1
        next_at = next_due(now=now, duration=timedelta(0), retry_count=retry_count, configured=configured)
    rows = ImportState.objects.expired(now=now).filter(mirror_id=row.mirror_id, epoch=row.epoch)
    return rows.settle(
        Status.FAILED,
        now=now,
        outcome=Outcome.LOST,
        next_execution_at=next_at,
        hard_failed=retry_count > configured.mirror_max_retry,
        retry_count=retry_count,
        lost_count=lost_count,
        last_error=f"its worker vanished, {lost_count} times in a row"
        if started
        else "its import never began",
    )


def _orphan_slots(*, tracker: JobTracker) -> int:
    """Free leases whose row no longer stands under that claim. The door takes a slot before the row moves, so a row
    that is claimed is enough to keep it.
    """
    leases = [*tracker.leases(Pool.PROCESSING), *tracker.leases(Pool.IMPORTING)]
    claims = [Claim.of_token(lease.token) for lease in leases]
    standing = _standing(claims)
    orphans = [claim.token for claim in claims if claim not in standing]
    tracker.forget(*orphans)
    if orphans:
        tracker.note("repaired_slots", len(orphans))
    return len(orphans)


def _standing(claims: Sequence[Claim]) -> set[Claim]:
    ids = [claim.mirror_id for claim in claims]
    rows = ImportState.objects.filter(claim_expires_at__isnull=False, mirror_id__in=ids).only(
        "mirror_id", "host_id", "epoch"
    )
    return {row.claim for row in rows}


def _abandoned_checks(*, now: datetime, tracker: JobTracker) -> int:
    """Have mirrors imported whose checks nobody does, because no worker for checks is alive."""
    if any("checks" in worker.queues for worker in tracker.workers()):
        return 0
    overdue_since = now - CHECKS_OVERDUE
    abandoned = ImportState.objects.abandon_checks(overdue_since=overdue_since, now=now, limit=BATCH)
    if abandoned:
        tracker.note("abandoned_checks", abandoned)
    return abandoned


def _forget_old_attempts(*, now: datetime) -> None:
    old = ImportAttempt.objects.filter(ended_at__lt=now - ATTEMPT_HISTORY).order_by("ended_at")
    ImportAttempt.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:BATCH])).delete()
