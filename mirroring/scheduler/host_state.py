"""Where an upstream host stands, in one sentence that is the same wherever it is shown."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count

from mirroring.models import Host, ImportState, SchedulingSettings
from mirroring.rules.hosts import Bounds
from mirroring.rules.words import counted


@dataclass(frozen=True)
class HostState:
    """What a host may hold and holds. `cooling_until`: it is left alone until then, because of `reason`."""

    name: str
    limit: int
    held: int
    max_slots: int | None
    cooling_until: datetime | None
    reason: str
    now: datetime

    @property
    def cools_for(self) -> timedelta:
        """Return how long the host is left alone yet."""
        return (self.cooling_until - self.now) if self.cooling_until else timedelta(0)

    @property
    def is_full(self) -> bool:
        """Say whether no further import of the host may start."""
        return self.held >= self.limit

    @property
    def sentence(self) -> str:
        """Return where it stands, without its name."""
        if self.cooling_until:
            seconds = max(1, round(self.cools_for.total_seconds()))
            return f"cooling for {seconds} s, because {self.reason}"
        bound = ", as a person set" if self.max_slots is not None and self.limit == self.max_slots else ""
        return f"{counted(self.limit, 'slot')}{bound}, {self.held} in use"

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence}"


def states_of(
    hosts: Iterable[Host], *, capacity: int, configured: SchedulingSettings, now: datetime
) -> list[HostState]:
    """Return where hosts stand within a capacity."""
    hosts = list(hosts)
    standing = ImportState.objects.filter(claim_expires_at__gt=now, host__in=hosts)
    held = dict(standing.order_by().values_list("host").annotate(Count("pk")))
    bounds = configured.host_bounds(capacity)
    return [described(host, held=held.get(host.pk, 0), bounds=bounds, now=now) for host in hosts]


def described(host: Host, *, held: int, bounds: Bounds, now: datetime) -> HostState:
    """Return where a host stands that holds so many."""
    cools = bounds.adaptive and host.standing.is_cooling(now)
    return HostState(
        name=host.name,
        limit=host.limit(bounds, now=now),
        held=held,
        max_slots=host.max_slots,
        cooling_until=host.cooling_until if cools else None,
        reason=host.cooling_reason,
        now=now,
    )


def state_of(host: Host, *, capacity: int, configured: SchedulingSettings, now: datetime) -> HostState:
    """Return where one host stands."""
    [state] = states_of([host], capacity=capacity, configured=configured, now=now)
    return state
