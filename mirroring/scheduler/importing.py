"""update_mirror: run git, write how it ended, free the slot, wake the scheduler."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import InterfaceError, OperationalError, close_old_connections, transaction
from django.db.models import Q

from mirroring.models import Claim, ImportAttempt, ImportState, Mirror, OnDivergence, SchedulingSettings
from mirroring.rules.outcomes import Outcome
from mirroring.rules.states import Status
from mirroring.scheduler import access
from mirroring.scheduler.check_rows import is_checked
from mirroring.scheduler.ending import Ending, settle, tell_host
from mirroring.scheduler.heartbeat import InFlight
from mirroring.tracker.connection import RunClock
from mirroring.tracker.job_tracker import JobTracker
from mirroring.upstream.access import contact
from mirroring.upstream.disk.repository import Repository
from mirroring.upstream.errors import GitError
from mirroring.upstream.fetch import Fetched, fetch
from mirroring.upstream.git.bounds import Bounds
from mirroring.upstream.git.process import StopHandle
from mirroring.upstream.transfer.handed import Handed
from mirroring.upstream.transfer.session import Order

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where an import runs: the process's tracker, clock, list of imports and name, and how to wake the scheduler."""

    tracker: JobTracker
    clock: RunClock
    in_flight: InFlight
    worker: str
    wake: Callable[[], None]


def update_mirror(claim: Claim, *, place: Place, handed: str | None = None) -> Outcome | None:
    """Import one scheduled mirror under its claim. None: the message was stale, nothing was done.

    `handed`: what the check that caused it was answered. It is too old for whoever asks for an update before the start.

    The slot is renewed by its token before anything runs, and freed after the row has come to rest. Should this
    process die in between, slot and claim run out together and repair takes over.
    """
    configured = SchedulingSettings.current()
    held = place.tracker.renew([claim.token], lease=configured.lease)
    if not held:
        return _without_slot(claim, place=place)
    if configured.holds_all_back:
        return _held_back(claim, place=place)
    unasked = handed is not None and _start(claim, place=place, lease=configured.lease, unasked=True)
    if not unasked and not _start(claim, place=place, lease=configured.lease):
        _stale(claim, place=place)
        return None
    began = place.clock.now()
    with place.in_flight.entry(claim) as stop:
        mirror = Mirror.objects.whole(claim.mirror_id)
        heard = Handed.of_text(handed, now=began) if handed is not None and unasked else None
        ending = _import(mirror, claim, configured=configured, clock=place.clock, stop=stop, handed=heard)
    _end(claim, ending, host_id=mirror.host_id, began=began, configured=configured, place=place)
    return ending.outcome


def _end(
    claim: Claim,
    ending: Ending,
    *,
    host_id: int,
    began: datetime,
    configured: SchedulingSettings,
    place: Place,
) -> None:
    """Bring the row to rest and free the slot.

    A row whose claim ran out keeps its slot until repair takes both: a clock that jumps back would revive it alone.
    """
    settled = _patiently(
        lambda: settle(claim, ending, configured=configured, now=place.clock.now()), configured=configured
    )
    tell_host(host_id, ending, began=began, configured=configured, now=place.clock.now())
    if (settled or not _in_flight(claim)) and place.tracker.release(claim.token):
        place.wake()


def _without_slot(claim: Claim, *, place: Place) -> Outcome:
    """Bring a mirror whose slot ran out in the queue to rest; it is due at once. One that runs is left alone."""
    now = place.clock.now()
    place.tracker.note("imports_without_slot")
    rows = ImportState.objects.held(claim, now=now).filter(status=Status.SCHEDULED)
    if rows.settle(Status.FAILED, now=now, outcome=Outcome.NO_SLOT, next_execution_at=now):
        place.tracker.forget(claim.token)
    return Outcome.NO_SLOT


def _held_back(claim: Claim, *, place: Place) -> Outcome:
    """Bring a scheduled mirror to rest because nothing may start now; it is due as soon as things may."""
    now = place.clock.now()
    rows = ImportState.objects.held(claim, now=now).filter(status=Status.SCHEDULED)
    if rows.settle(Status.CANCELED, now=now, outcome=Outcome.INTERRUPTED, next_execution_at=now):
        place.tracker.forget(claim.token)
    return Outcome.INTERRUPTED


def _start(claim: Claim, *, place: Place, lease: timedelta, unasked: bool = False) -> bool:
    """Move the row to `started` and count the attempt, before any work is done. `unasked`: if nobody asked for it."""
    now = place.clock.now()
    with transaction.atomic():
        if not ImportState.objects.start(claim, now=now, until=now + lease, unasked=unasked):
            return False
        ImportAttempt.objects.create(
            mirror_id=claim.mirror_id, epoch=claim.epoch, worker=place.worker, started_at=now
        )
    return True


def _stale(claim: Claim, *, place: Place) -> None:
    """Count a message that came too late or twice. What it holds is freed, unless its mirror really runs."""
    now = place.clock.now()
    place.tracker.note("stale_messages")
    # Called off since it was scheduled: it will not start under this claim any more.
    scheduled = ImportState.objects.held(claim, now=now).filter(status=Status.SCHEDULED)
    scheduled.filter(Q(active=False) | Q(cancel_requested=True)).settle(
        Status.CANCELED, now=now, outcome=Outcome.CANCELED, next_execution_at=now
    )
    if not _in_flight(claim):
        place.tracker.forget(claim.token)
        ImportState.objects.give_back([claim], now=now)


def _in_flight(claim: Claim) -> bool:
    """Say whether the row still stands under this claim, be it run out or not."""
    return ImportState.objects.in_flight().filter(mirror_id=claim.mirror_id, epoch=claim.epoch).exists()


def _import(
    mirror: Mirror,
    claim: Claim,
    *,
    configured: SchedulingSettings,
    clock: RunClock,
    stop: StopHandle,
    handed: Handed | None,
) -> Ending:
    def still_ours() -> bool:
        """Ask on a connection that has rested for as long as git ran: what was fetched is not lost with it."""
        return stop.stopped is None and _patiently(
            lambda: ImportState.objects.runs(claim, now=clock.now()), configured=configured
        )

    ending = _fetch(
        mirror, claim, configured=configured, clock=clock, still_ours=still_ours, stop=stop, handed=handed
    )
    access.note(mirror.credential, outcome=ending.outcome, error=ending.error, now=clock.now())
    return ending


def _fetch(
    mirror: Mirror,
    claim: Claim,
    *,
    configured: SchedulingSettings,
    clock: RunClock,
    still_ours: Callable[[], bool],
    stop: StopHandle,
    handed: Handed | None,
) -> Ending:
    timeout = timedelta(seconds=configured.fetch_timeout_seconds)
    try:
        secret = access.secret_of(mirror, now=clock.now(), valid_for=timeout)
        order = Order(
            repository=Repository(mirror.repository),
            url=mirror.url,
            refspecs=mirror.refspecs,
            epoch=claim.epoch,
            timeout=access.within(secret, timeout, now=clock.now()),
            route_to=contact.known(mirror.host),
            bounds=Bounds.of(configured),
            secret=secret,
            afresh=mirror.state.last_outcome == Outcome.CORRUPT,
            keeps_branches=mirror.on_divergence == OnDivergence.KEEP,
            probes=is_checked(mirror, now=clock.now()),
            way=mirror.state.listed_way,
            handed=handed,
        )
        fetched: Fetched = fetch(order, still_ours=still_ours, stop=stop)
    except GitError as error:
        # Whatever git said, a stop is the reason for the end.
        why = stop.stopped
        return Ending(why.outcome, error=why.reason) if why else Ending.of_error(error)
    except OSError as error:
        logger.exception("the storage failed", extra={"mirror": claim.mirror_id, "epoch": claim.epoch})
        return Ending(outcome=Outcome.RESOURCE, error=f"the storage of the mirrors failed: {error.strerror}")
    return Ending.of_success(fetched, inputs=mirror.inputs)


def _patiently(act: Callable[[], bool], *, configured: SchedulingSettings) -> bool:
    """Ask or write although the database may be away for a moment: while the claim stands, what was done is kept."""
    until = time.monotonic() + configured.lease_seconds / 2
    while True:
        try:
            return act()
        except (OperationalError, InterfaceError):
            if time.monotonic() > until:
                raise
            logger.warning("the database is away: an import waits with what it has brought")
            time.sleep(0.5)
            close_old_connections()
