"""What the front page shows: capacity, who holds it, the workers, and what waits longest."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mirroring.catalog.freshness import in_words
from mirroring.flags.readings import read_all
from mirroring.models import Claim, ImportState, Mirror, SchedulingSettings
from mirroring.tracker.connection import connect
from mirroring.tracker.job_tracker import Counts, JobTracker, Lease, Pool, TrackerDown, Worker
from mirroring.web import census

SHOWN_SLOTS = 200
SHOWN_OVERDUE = 10


@dataclass(frozen=True)
class Slot:
    """One lease: who holds it, since when, and until when without a renewal."""

    pool: Pool
    mirror: Mirror | None
    epoch: int
    since: str
    deadline: str
    ran_out: bool


@dataclass(frozen=True)
class Sighting:
    """The value of one flag in one worker, and whether it is the one that is set."""

    name: str
    on: bool
    current: bool


@dataclass(frozen=True)
class WorkerLine:
    """One live worker."""

    name: str
    slots: int
    flags: list[Sighting]
    expires: str


@dataclass(frozen=True)
class Running:
    """What the tracker says."""

    counts: Counts
    slots: list[Slot]
    hidden_slots: int
    workers: list[WorkerLine]

    @property
    def share(self) -> int:
        """Return how much of the capacity in force is used, in percent."""
        if not self.counts.capacity:
            return 100 if self.counts.importing else 0
        return min(100, round(100 * self.counts.importing / self.counts.capacity))


@dataclass(frozen=True)
class Waiting:
    """One mirror that is due and has no slot."""

    mirror: Mirror
    due: str
    urgent: bool
    checked: str


@dataclass(frozen=True)
class Overview:
    """The whole page. `running` is None while Redis does not answer."""

    settings: SchedulingSettings
    census: census.Census
    oldest_overdue: str
    running: Running | None
    overdue: list[Waiting]


def gather(*, now: datetime) -> Overview:
    """Read everything that the page shows, in a number of queries that does not depend on the number of mirrors."""
    settings = SchedulingSettings.current()
    counted = census.take(now=now, settings=settings)
    try:
        running = _running(connect(), max_capacity=settings.mirror_max_capacity, now=now)
    except TrackerDown:
        running = None
    return Overview(
        settings=settings,
        census=counted,
        oldest_overdue=in_words(now - counted.oldest_overdue, now=now) if counted.overdue else "",
        running=running,
        overdue=_overdue(now=now),
    )


def _running(tracker: JobTracker, *, max_capacity: int, now: datetime) -> Running:
    counts = tracker.counts(max_capacity=max_capacity)
    leases = [(pool, lease) for pool in (Pool.IMPORTING, Pool.PROCESSING) for lease in tracker.leases(pool)]
    return Running(
        counts=counts,
        slots=_slots(leases[:SHOWN_SLOTS], now=now),
        hidden_slots=max(0, len(leases) - SHOWN_SLOTS),
        workers=_workers(tracker.workers(), now=now),
    )


def _slots(leases: Iterable[tuple[Pool, Lease]], *, now: datetime) -> list[Slot]:
    claims = [(pool, Claim.of_token(lease.token), lease.deadline) for pool, lease in leases]
    mirrors = Mirror.objects.select_related("group", "state").in_bulk(
        {claim.mirror_id for _, claim, _ in claims}
    )
    return [
        Slot(
            pool=pool,
            mirror=mirrors.get(claim.mirror_id),
            epoch=claim.epoch,
            since=_since(mirrors.get(claim.mirror_id), claim, now=now),
            deadline=in_words(deadline, now=now),
            ran_out=deadline <= now,
        )
        for pool, claim, deadline in claims
    ]


def _since(mirror: Mirror | None, claim: Claim, *, now: datetime) -> str:
    """Return when the holder was claimed; nothing if the row has moved on and the slot is a left-over."""
    if mirror is None or mirror.state.epoch != claim.epoch or mirror.state.claimed_at is None:
        return ""
    return in_words(mirror.state.claimed_at, now=now)


def _workers(workers: Iterable[Worker], *, now: datetime) -> list[WorkerLine]:
    flags = {str(name): on for name, on in read_all().items()}
    return [
        WorkerLine(
            name=worker.name,
            slots=worker.slots,
            flags=[
                Sighting(name, on, on == flags.get(name, on)) for name, on in sorted(worker.flags.items())
            ],
            expires=in_words(worker.expires_at, now=now),
        )
        for worker in sorted(workers, key=lambda worker: (-worker.slots, worker.name))
    ]


def _overdue(*, now: datetime) -> list[Waiting]:
    rows = (
        ImportState.objects.overdue(now=now)
        .select_related("mirror__group")
        .order_by("import_due_at", "mirror_id")
    )
    return [
        Waiting(
            mirror=row.mirror,
            due=in_words(min(now, row.next_execution_at), now=now),
            urgent=row.urgent,
            checked=in_words(row.last_successful_update_at, now=now),
        )
        for row in rows[:SHOWN_OVERDUE]
    ]
