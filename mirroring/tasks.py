"""The Celery doorways. Each finds its collaborators, calls one step and returns."""

import logging
import os
import socket
import threading
import time
from collections.abc import Sequence

from celery import shared_task
from django.conf import settings
from kombu.exceptions import OperationalError
from kombu.utils.uuid import uuid

from mirroring import announce, catalog, publish
from mirroring.models import Claim, ImportState
from mirroring.rollout import driving, samples
from mirroring.rollout.rolling_back import utc_now
from mirroring.scheduler import checking, dispatch, ending, importing, scheduling
from mirroring.scheduler import repair as repairing
from mirroring.scheduler.heartbeat import InFlight
from mirroring.tracker.connection import RunClock, connect
from mirroring.tracker.job_tracker import TrackerDown
from mirroring.upstream.client.prober import Prober

logger = logging.getLogger(__name__)

PURGED_AT_ONCE = 20
"""Removed mirrors whose time is over, to a repair tick."""

LINGERS_SECONDS = 5.0
"""For so long a run of checks waits for the next one to fall due: as long as beat takes to begin another."""

PROBER = Prober()
"""What asks upstreams in this process; its connections outlive a run."""

STOPPING = threading.Event()
"""Set when this process is to begin nothing more."""

IN_FLIGHT = InFlight()
"""The imports of this process; its heartbeat renews them."""


def process_name() -> str:
    """Return a name that no other live process has."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _run_name() -> str:
    return f"{process_name()}:{uuid()}"


def _enqueue(claims: Sequence[Claim]) -> None:
    publish.publish(project_import_schedule, ((c.mirror_id, c.epoch) for c in claims), queue="scheduling")


def _enqueue_import(claim: Claim) -> None:
    publish.publish(update_mirror, [(claim.mirror_id, claim.epoch)], queue="imports")


def _queued() -> int:
    return publish.waiting(project_import_schedule.app, queue="scheduling")


def _send_wake_up() -> None:
    publish.publish(update_all_mirrors, [()], queue="control")


def wake_scheduler() -> None:
    """Have the scheduler run soon. Wake-ups are coalesced; without Redis the next tick does it."""
    try:
        if connect().knock():
            _send_wake_up()
    except (TrackerDown, OperationalError):
        logger.warning("the scheduler could not be woken: it runs at its next tick")


@shared_task
def update_all_mirrors() -> None:
    """Fill the free capacity with due mirrors."""
    broker = dispatch.Broker(enqueue=_enqueue, waiting=_queued)
    dispatch.update_all_mirrors(
        tracker=connect(),
        broker=broker,
        owner=_run_name(),
        due=ImportState.objects.claim_due,
        rerun=_send_wake_up,
    )


@shared_task
def project_import_schedule(mirror_id: int, epoch: int) -> None:
    """Take one claimed mirror through the door."""
    time.sleep(settings.SCHEDULING_DELAY)
    tracker = connect()
    claim = Claim(mirror_id=mirror_id, epoch=epoch)
    scheduling.project_import_schedule(claim, now=tracker.now(), tracker=tracker, enqueue=_enqueue_import)


@shared_task
def update_mirror(mirror_id: int, epoch: int) -> None:
    """Import one scheduled mirror."""
    tracker = connect()
    claim = Claim(mirror_id=mirror_id, epoch=epoch)
    now, handed = tracker.receive(claim.token)
    clock = RunClock(now)
    place = importing.Place(tracker, clock, in_flight=IN_FLIGHT, worker=process_name(), wake=_send_wake_up)
    importing.update_mirror(claim, place=place, handed=handed)


@shared_task
def check_mirrors() -> None:
    """Ask the upstreams of mirrors whose check is due."""
    tracker = connect()
    hooks = checking.Hooks(ending.next_due, wake_scheduler, STOPPING.is_set, lingers=LINGERS_SECONDS)
    place = checking.Place(tracker, RunClock(tracker.now()), PROBER, owner=_run_name(), hooks=hooks)
    checking.check_mirrors(place)


@shared_task
def repair() -> None:
    """Put right what dead workers and lost stores left behind, and forget what was removed long ago."""
    tracker = connect()
    clock = RunClock(tracker.now())
    repairing.repair(
        clock=clock, tracker=tracker, owner=_run_name(), next_due=ending.next_due, wake=wake_scheduler
    )
    catalog.purge_removed(now=clock.now(), limit=PURGED_AT_ONCE)


@shared_task
def sample_metrics() -> None:
    """Measure everything, and let the rollouts under way be judged by it at once."""
    samples.take(now=utc_now(), tracker=connect())
    driving.drive_all(now=utc_now(), tracker=connect())


@shared_task
def send_late_answers() -> None:
    """Send Slack the answers that are still owed."""
    announce.send_owed(now=utc_now())


@shared_task
def drive_rollouts() -> None:
    """Drive the rollouts even if there are no samples."""
    driving.drive_all(now=utc_now(), tracker=connect())
