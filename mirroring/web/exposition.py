"""/metrics: what the database and the tracker say at scrape time, in the Prometheus text format."""

import hmac
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from mirroring import metrics, revision
from mirroring.catalog.credential_facts import count_credentials
from mirroring.flags.readings import read_all
from mirroring.models import SchedulingSettings
from mirroring.tracker.connection import connect, present
from mirroring.tracker.job_tracker import Pool, TrackerDown
from mirroring.web import census
from mirroring.web.refusal import Refused, answers_refusals


@answers_refusals
def metrics_view(request: HttpRequest) -> HttpResponse:
    """Answer a scrape; a part that is down leaves out its own metrics only."""
    _check_token(request)
    registry = CollectorRegistry()
    registry.register(_read())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type=content_type)


def _check_token(request: HttpRequest) -> None:
    token = settings.METRICS_TOKEN
    given = request.headers.get("Authorization", "").encode()
    if token and not hmac.compare_digest(given, f"Bearer {token}".encode()):
        text = "Send the header 'Authorization: Bearer TOKEN' with the token that METRICS_TOKEN holds"
        raise Refused(401, text, headers={"WWW-Authenticate": 'Bearer realm="metrics"'})


def _read() -> metrics.Readings:
    readings = metrics.Readings()
    readings.put(metrics.BUILD, 1, revision.current(), *revision.versions().values())
    max_capacity = _put_rows(readings, now=present())
    _put_tracker(readings, max_capacity=max_capacity)
    return readings


def _put_rows(readings: metrics.Readings, *, now: datetime) -> int | None:
    """Read the database, and return the capacity that is set; None if the database does not answer."""
    try:
        current = SchedulingSettings.current()
        counted = census.take(now=now, settings=current)
        attempts, flags = census.recent_attempts(now=now), read_all()
        secrets = count_credentials(now=now, configured=current)
    except DatabaseError:
        readings.put(metrics.UP, 0, "database")
        return None
    readings.put(metrics.UP, 1, "database")
    readings.put_all(metrics.MIRRORS, counted.statuses)
    readings.put_all(metrics.LAST_OUTCOMES, counted.outcomes)
    readings.put(metrics.HARD_FAILED, counted.hard_failed)
    readings.put_all(metrics.GIVEN_UP, {why: float(count) for why, count in counted.given_up.items()})
    readings.put(metrics.HOSTS_COOLING, counted.hosts_cooling)
    readings.put(metrics.MIRRORS_HELD_UP, counted.held_up)
    readings.put(metrics.STALE, counted.stale)
    readings.put_all(metrics.CREDENTIALS, {name: float(count) for name, count in secrets.expiries.items()})
    readings.put(metrics.CREDENTIALS_REFUSED, secrets.refused)
    readings.put(metrics.CREDENTIALS_UNOPENED, secrets.unopened)
    readings.put(metrics.PAUSED, counted.paused)
    readings.put(metrics.REMOVED, counted.removed)
    readings.put(metrics.OVERDUE, counted.overdue)
    readings.put(metrics.OLDEST_OVERDUE, counted.oldest_overdue.total_seconds())
    readings.put_all(metrics.RECENT_ATTEMPTS, attempts)
    readings.put_all(metrics.FLAGS, {name: float(on) for name, on in flags.items()})
    readings.put(metrics.MAX_CAPACITY, current.mirror_max_capacity)
    return current.mirror_max_capacity


def _put_tracker(readings: metrics.Readings, *, max_capacity: int | None) -> None:
    try:
        tracker = connect()
        counts = tracker.counts(max_capacity=max_capacity or 0)
        workers, events = tracker.workers(), tracker.counters()
    except TrackerDown:
        readings.put(metrics.UP, 0, "redis")
        return
    readings.put(metrics.UP, 1, "redis")
    readings.put(metrics.TRACKER_READY, counts.ready)
    readings.put_all(
        metrics.SLOTS_USED, {Pool.IMPORTING: counts.importing, Pool.PROCESSING: counts.processing}
    )
    readings.put(metrics.ANNOUNCED_SLOTS, counts.slots)
    readings.put(metrics.WORKERS, sum(worker.slots > 0 for worker in workers))
    readings.put_all(metrics.EVENTS, {name: float(count) for name, count in events.items()})
    if max_capacity is not None:
        readings.put(metrics.CAPACITY, counts.capacity)
