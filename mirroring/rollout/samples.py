"""Samples: what the service measures of itself, every few seconds, in one row. Cheap: a handful of short reads."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Avg, Count, DurationField, F, Min, OuterRef, Subquery

from mirroring.models import Host, ImportAttempt, ImportState, SchedulingSettings
from mirroring.models.metric_sample import MetricSample
from mirroring.rollout import arms, prometheus
from mirroring.rollout.measures import FROM_REDIS
from mirroring.rules.outcomes import SUCCESSES
from mirroring.rules.states import AT_REST
from mirroring.tracker.job_tracker import JobTracker, TrackerDown

logger = logging.getLogger(__name__)

PERIOD = timedelta(seconds=5)
KEPT = timedelta(days=3)
TOO_SOON = timedelta(seconds=1)
"""Two beats, or a tick that was delivered twice, make no two samples."""

PURPOSES = ("broker", "tracker")


@dataclass
class Look:
    """What one look finds, before it is a row.

    `span`: the seconds since the totals of `before`, more than `seconds` after samples for which Redis was away.
    """

    seconds: float
    span: float
    before: Mapping[str, float]
    values: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)

    def grown(self, total: str) -> float | None:
        """Return by how much a total grew. None: it cannot be told, as at first or after Redis lost its memory."""
        if not self.span or total not in self.totals:
            return None
        by = self.totals[total] - self.before.get(total, 0.0)
        return by if by >= 0 and self.before else None

    def per_sample(self, total: str) -> float | None:
        """Return by how much a total grew since the last sample: the mean, where it was not asked for at each."""
        by = self.grown(total)
        return None if by is None else by * (self.seconds / self.span)

    def put(self, name: str, value: float | None) -> None:
        """Note a value, if there is one."""
        if value is not None:
            self.values[name] = round(value, 6)


def take(*, now: datetime, tracker: JobTracker) -> MetricSample | None:
    """Measure everything and keep it. What cannot be measured is kept as an error, by measure. None: too soon."""
    last = MetricSample.objects.order_by("-at").first()
    if last is not None and now - last.at < TOO_SOON:
        return None
    counted = _last_counted()
    look = Look(
        seconds=(now - last.at).total_seconds() if last else 0.0,
        span=(now - counted.at).total_seconds() if counted else 0.0,
        before=counted.totals if counted else {},
    )
    try:
        _ask_redis(look, tracker)
    except TrackerDown as error:
        look.errors.update(dict.fromkeys(FROM_REDIS, str(error)))
    _ask_rows(look, now=now, since=last.at if last else now)
    _ask_prometheus(look)
    MetricSample.objects.filter(at__lt=now - KEPT).delete()
    return MetricSample.objects.create(
        at=now,
        seconds=look.seconds,
        values=look.values,
        arms=arms.measure_all(since=last.at, now=now) if last else {},
        errors=look.errors,
        totals=look.totals,
    )


def _last_counted() -> MetricSample | None:
    """Return the last sample that asked Redis. What Redis counts while it cannot be asked counts from there.

    The error tells, not empty totals: older builds gave a sample without Redis the totals of the one before.
    """
    return MetricSample.objects.exclude(errors__has_key="scheduled").order_by("-at").first()


def _ask_redis(look: Look, tracker: JobTracker) -> None:
    counts = tracker.counts(max_capacity=SchedulingSettings.current().mirror_max_capacity)
    counters = dict.fromkeys(
        ("over_scheduled", "bounced", "scheduled", "queue_delay_ms", "repaired_slots"), 0
    )
    look.totals.update({**counters, **tracker.counters(), "redis_calls": tracker.server_calls()})
    scheduled = look.grown("scheduled")
    for event, name in {
        "scheduled": "scheduled",
        "over_scheduled": "over_scheduled",
        "bounced": "bounced",
        "repaired_slots": "slots_leaked",
    }.items():
        look.put(name, look.per_sample(event))
    look.put("capacity_used", counts.importing / counts.capacity if counts.capacity else None)
    trips = {purpose: look.grown(f"round_trips_{purpose}") for purpose in PURPOSES}
    known = [number for number in trips.values() if number is not None]
    spent = {f"redis_round_trips_{purpose}": number for purpose, number in trips.items()}
    spent |= {"redis_round_trips": sum(known) if known else None, "redis_calls": look.grown("redis_calls")}
    for name, number in spent.items():
        look.put(name, None if number is None else number / look.span)
        if scheduled and number is not None:
            look.put(f"{name}_per_mirror", number / scheduled)
    delay = look.grown("queue_delay_ms")
    look.put("queue_delay_seconds", delay / scheduled / 1000 if scheduled and delay is not None else None)


def _ask_rows(look: Look, *, now: datetime, since: datetime) -> None:
    look.put("lag_seconds", lag(now=now).total_seconds())
    if not look.seconds:
        return
    ended = ImportAttempt.objects.filter(ended_at__gt=since, ended_at__lte=now).order_by()
    by_class = dict(ended.values_list("outcome").annotate(Count("pk")))
    failures = {name: number for name, number in by_class.items() if name not in SUCCESSES}
    look.put("imports_ended", sum(by_class.values()))
    look.put("import_failures", sum(failures.values()))
    for name, number in failures.items():
        look.put(f"import_failures_{name}", number)
    spent = ended.aggregate(mean=Avg(F("ended_at") - F("started_at"), output_field=DurationField()))["mean"]
    look.put("import_seconds", spent.total_seconds() if spent else None)


def _ask_prometheus(look: Look) -> None:
    """Let Prometheus answer for the measures that are configured so; what it does not answer is an error."""
    for name, expression in prometheus.expressions().items():
        look.values.pop(name, None)
        look.errors.pop(name, None)
        try:
            look.put(name, prometheus.ask(expression))
        except prometheus.NoAnswer as error:
            look.errors[name] = str(error)


def lag(*, now: datetime) -> timedelta:
    """Return how long the longest-waiting mirror has been due, be it in its row or in the queue before the door.

    A scheduler that enqueues too much must not look quick. Of each host the first of its line is read, however many
    wait.
    """
    lines = ImportState.objects.overdue(now=now).filter(host=OuterRef("pk"), urgent=False)
    first = lines.order_by("import_due_at").values("next_execution_at")[:1]
    queued = ImportState.objects.filter(claim_expires_at__isnull=False, status__in=AT_REST, urgent=False)
    oldest = [
        Host.objects.annotate(first=Subquery(first)).aggregate(oldest=Min("first"))["oldest"],
        queued.aggregate(oldest=Min("next_execution_at"))["oldest"],
    ]
    return max((now - at for at in oldest if at), default=timedelta(0))


def snapshot() -> dict[str, float]:
    """Return the newest values, for the record of a change."""
    last = MetricSample.objects.order_by("-at").first()
    return dict(last.values) if last else {}
