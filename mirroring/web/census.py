"""How many mirrors stand where: a few queries for the front page and for /metrics, whatever their number."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q

from mirroring.models import Host, ImportAttempt, ImportState, Mirror, SchedulingSettings
from mirroring.rules.policies import Rest, rest_of
from mirroring.rules.states import Status
from mirroring.web.freshness import is_stale

RECENT = timedelta(hours=1)


@dataclass(frozen=True)
class Census:
    """The counts at one instant. Statuses and outcomes are those of active mirrors: neither paused nor removed."""

    statuses: dict[str, int]
    outcomes: dict[str, int]
    hard_failed: int
    given_up: dict[str, int]
    hosts_cooling: int
    held_up: int
    stale: int
    paused: int
    removed: int
    overdue: int
    oldest_overdue: timedelta

    @property
    def active(self) -> int:
        """Return how many mirrors are kept fresh."""
        return sum(self.statuses.values())


def take(*, now: datetime, settings: SchedulingSettings) -> Census:
    """Count all mirrors."""
    stale = Count("pk", filter=is_stale(now=now, cadence=settings.cadence))
    rows = (
        ImportState.objects.filter(active=True)
        .values("status", "last_outcome", "hard_failed")
        .annotate(mirrors=Count("pk"), stale=stale)
        .order_by()
    )
    statuses, outcomes = Counter({str(status): 0 for status in Status}), Counter[str]()
    given_up = Counter({str(rest): 0 for rest in Rest})
    stale_mirrors = 0
    for row in rows:
        statuses[row["status"]] += row["mirrors"]
        outcomes[row["last_outcome"]] += row["mirrors"]
        if row["hard_failed"]:
            given_up[str(rest_of(row["last_outcome"]))] += row["mirrors"]
        stale_mirrors += row["stale"]
    outcomes.pop("", None)
    waiting = ImportState.objects.overdue(now=now).aggregate(
        mirrors=Count("pk"), since=Min("next_execution_at")
    )
    return Census(
        statuses=dict(statuses),
        outcomes=dict(outcomes),
        hard_failed=sum(given_up.values()),
        given_up=dict(given_up),
        stale=stale_mirrors,
        overdue=waiting["mirrors"],
        oldest_overdue=max(timedelta(), now - (waiting["since"] or now)),
        **_cooling(now),
        **_set_aside(),
    )


def _cooling(now: datetime) -> dict[str, int]:
    hosts = list(Host.objects.filter(cooling_until__gt=now).values_list("pk", flat=True))
    waiting = ImportState.objects.overdue(now=now).filter(host__in=hosts)
    return {"hosts_cooling": len(hosts), "held_up": waiting.count() if hosts else 0}


def _set_aside() -> dict[str, int]:
    return Mirror.objects.aggregate(
        paused=Count("pk", filter=Q(paused_at__isnull=False, deleted_at=None)),
        removed=Count("pk", filter=Q(deleted_at__isnull=False)),
    )


def recent_attempts(*, now: datetime) -> dict[str, int]:
    """Count the attempts that ended in the last hour, by outcome."""
    ended = ImportAttempt.objects.filter(ended_at__gt=now - RECENT).order_by()
    return dict(ended.values_list("outcome").annotate(Count("pk")))
