"""update_all_mirrors: free capacity -> claim due rows -> admit -> give back the refused -> enqueue.

Only this step reads the two flags, both once per run.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from mirroring.flags.readings import read_all  # goes with update_all_mirrors_job_tracker
from mirroring.flags.registry import FlagName  # goes with update_all_mirrors_job_tracker
from mirroring.models import Claim, Host, ImportState, SchedulingSettings
from mirroring.models.database import is_writable
from mirroring.rules.hosts import Bounds
from mirroring.tracker.connection import RunClock
from mirroring.tracker.job_tracker import Counts, JobTracker, Room, TrackerDown

logger = logging.getLogger(__name__)

LEADER_LEASE = timedelta(seconds=10)
"""Short, for a leader that dies must not hold up the next; two at once are harmless, claims being exclusive."""

STAY = timedelta(seconds=5)
"""Short, for a worker that is to end waits for it. After it, a message hands the lead over."""

PATIENCE = timedelta(seconds=1)
"""How long a leader waits for the next freed slot."""

BATCH = 500
"""Claims to a statement: GitLab's batch, and what one admission and one flush are measured with."""


class DueLine(Protocol):
    """Claims at most `limit` rows that are due, fairly between hosts."""

    def __call__(
        self, limit: int, *, now: datetime, until: datetime, bounds: Bounds, charges: bool
    ) -> list[Claim]:
        """Return the claims, which hold until `until` unless renewed."""


@dataclass(frozen=True)
class Broker:
    """The queue of scheduling jobs, as far as a run needs it."""

    enqueue: Callable[[Sequence[Claim]], None]
    waiting: Callable[[], int]


@dataclass(frozen=True)
class Position:
    """What the two flags mean for a run."""

    charges: bool
    tracks: bool = True  # goes with project_import_schedule_worker_job_tracker

    @classmethod
    def current(cls, now: datetime) -> "Position":
        """Read both flags, once: a run decides on one state of them, at one time."""
        flags = read_all(now)  # goes with update_all_mirrors_job_tracker
        # This goes with project_import_schedule_worker_job_tracker.
        if not flags[FlagName.PROJECT_IMPORT_SCHEDULE_WORKER_JOB_TRACKER]:
            if flags[FlagName.UPDATE_ALL_MIRRORS_JOB_TRACKER]:
                logger.warning("the second flag is on without the first: this run behaves as with both off")
            return cls(charges=False, tracks=False)
        return cls(charges=flags[FlagName.UPDATE_ALL_MIRRORS_JOB_TRACKER])


@dataclass(frozen=True)
class Dispatched:
    """What a run did. `again`: another run was sent for."""

    enqueued: int = 0
    refused: int = 0
    again: bool = False


@dataclass(frozen=True)
class Run:
    """What the steps of one run share. `counts` is what was held when it began."""

    position: Position
    configured: SchedulingSettings
    counts: Counts
    tracker: JobTracker
    clock: RunClock
    broker: Broker
    owner: str
    sleep: Callable[[float], None]

    @property
    def bounds(self) -> Bounds:
        """Return what each host is held to in this run."""
        return self.configured.host_bounds(self.counts.capacity)

    def free(self, counts: Counts) -> int:
        """Return how many more jobs the capacity in force has room for; never negative."""
        charged = counts.importing + counts.processing
        if not self.position.charges:  # goes with update_all_mirrors_job_tracker
            charged = counts.importing
        return max(0, counts.capacity - charged) if counts.ready else 0


def update_all_mirrors(
    *,
    tracker: JobTracker,
    broker: Broker,
    owner: str,
    due: DueLine,
    rerun: Callable[[], None],
    clock: Callable[[datetime], RunClock] = RunClock,
    sleep: Callable[[float], None] = time.sleep,
    patience: timedelta = PATIENCE,
) -> Dispatched:
    """Fill the free capacity with rows of a due line. One leads at a time; who comes in between has it look again.

    With both flags on the leader stays for a while and runs again for each slot that is freed meanwhile, so that a
    busy service needs no message for it. `owner` names this leader and no other.
    """
    begin = partial(_begin, tracker=tracker, broker=broker, owner=owner, clock=clock, sleep=sleep)
    run = begin()
    if run is None:
        return Dispatched()
    leaves_at = run.clock.now() + STAY
    enqueued = refused = 0
    refill = False  # goes with update_all_mirrors_job_tracker
    try:
        while run is not None:
            came_in, turned_away = _fill(run, due)
            enqueued, refused = enqueued + came_in, refused + turned_away
            if not run.position.charges:  # goes with update_all_mirrors_job_tracker
                refill = bool(came_in) and _wait_for_room(run)
            run = begin() if _is_asked_again(run, leaves_at=leaves_at, patience=patience) else None
    finally:
        again = tracker.resign(owner)
    again = again or refill  # goes with update_all_mirrors_job_tracker
    logger.info("mirrors dispatched", extra={"enqueued": enqueued, "refused": refused})
    if again:
        rerun()
    return Dispatched(enqueued=enqueued, refused=refused, again=again)


def _begin(
    *,
    tracker: JobTracker,
    broker: Broker,
    owner: str,
    clock: Callable[[datetime], RunClock],
    sleep: Callable[[float], None],
) -> Run | None:
    """Begin a run: one round trip. None: everything is held back, or another leads."""
    configured = SchedulingSettings.current()
    if configured.holds_all_back or not is_writable():
        return None
    begun = tracker.begin(owner, lease=LEADER_LEASE, max_capacity=configured.mirror_max_capacity)
    ticking = clock(begun.counts.at)
    position = Position.current(ticking.now())
    if position.charges != begun.refills_by_event:
        tracker.refill(by_event=position.charges)
    if not begun.leads:
        return None
    return Run(
        position=position,
        configured=configured,
        counts=begun.counts,
        tracker=tracker,
        clock=ticking,
        broker=broker,
        owner=owner,
        sleep=sleep,
    )


def _is_asked_again(run: Run, *, leaves_at: datetime, patience: timedelta) -> bool:
    """Wait, with both flags on, for a freed slot or a mirror that became due, unless this leader's time is over."""
    return run.position.charges and run.clock.now() < leaves_at and run.tracker.listen(patience)


def _fill(run: Run, due: DueLine) -> tuple[int, int]:
    """Claim, admit and enqueue until there is no room or nothing due. Return how many went in and were refused."""
    free, enqueued, refused = run.free(run.counts), 0, 0
    while free > 0:
        limit = min(free, BATCH)
        now = run.clock.now()
        until = now + run.configured.lease
        claims = due(limit, now=now, until=until, bounds=run.bounds, charges=run.position.charges)
        admitted = _admit(run, claims) if claims else claims
        if admitted:
            beyond = ImportState.objects.beyond(run.counts.capacity, now=now)
            run.broker.enqueue(admitted)
            _note_over_scheduled(run, min(beyond, len(admitted)))
        free, enqueued, refused = (
            free - limit,
            enqueued + len(admitted),
            refused + len(claims) - len(admitted),
        )
        if len(admitted) < limit:
            break
    return enqueued, refused


def _admit(run: Run, claims: Sequence[Claim]) -> Sequence[Claim]:
    """Track the jobs where the first flag says so, and give back those that find no room."""
    if not run.position.tracks:  # goes with project_import_schedule_worker_job_tracker
        return claims
    hosts = {claim.host_id for claim in claims}
    limits = Host.objects.limits(hosts, bounds=run.bounds, now=run.clock.now())
    try:
        tokens = run.tracker.admit(
            [claim.token for claim in claims],
            capacity=run.configured.mirror_max_capacity,
            lease=run.configured.lease,
            enforce=run.position.charges,
            rooms=[Room(claim.host_id, limits.get(claim.host_id, 0)) for claim in claims],
        )
    except TrackerDown:
        ImportState.objects.give_back(claims, now=run.clock.now())
        raise
    inside = set(tokens or ())
    refused = [claim for claim in claims if claim.token not in inside]
    ImportState.objects.give_back(refused, now=run.clock.now())
    return [claim for claim in claims if claim.token in inside]


def _note_over_scheduled(run: Run, jobs: int) -> None:
    """Count jobs that were enqueued though the capacity was spoken for; the door will refuse them, or others."""
    if jobs:
        run.tracker.note("over_scheduled", jobs)
        logger.warning("more jobs enqueued than there is room for", extra={"beyond": jobs})


def _wait_for_room(run: Run) -> bool:  # goes with update_all_mirrors_job_tracker
    """Wait, one poll a second, until the queue is empty or the wait times out; say whether to run again at once.

    This is how GitLab does it without the second flag. An empty queue does not mean that its jobs are through the
    door, so the next run may schedule too many; the door then refuses them.
    """
    until = run.clock.now() + timedelta(seconds=run.configured.schedule_wait_timeout_seconds)
    pause = float(run.configured.reschedule_wait_seconds)
    while run.broker.waiting() > 0 and run.clock.now() < until:
        run.tracker.lead(run.owner, lease=LEADER_LEASE)
        run.sleep(pause)
    run.sleep(pause)
    counts = run.tracker.counts(max_capacity=run.configured.mirror_max_capacity)
    return run.free(counts) >= max(1, min(run.configured.mirror_capacity_threshold, counts.capacity))
