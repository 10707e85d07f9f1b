"""Arms: for a flag that is read by actor, the mirrors that have it beside those that have it not, at the same time.

Each sample is split by the arms of the rollouts that are under way. What can be told of one mirror can be told of an
arm; what only the whole service has (Redis traffic, slots) is compared with before, as for a global flag.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery

from mirroring.flags import readings, registry
from mirroring.flags.actors import Actor
from mirroring.flags.definition import ActorKind
from mirroring.flags.state import State
from mirroring.models import Host, ImportAttempt, ImportState, Mirror, Rollout
from mirroring.models.rollout import ACTIVE
from mirroring.rollout.steps import StepKind
from mirroring.rules.outcomes import SUCCESSES
from mirroring.rules.states import AT_REST

BY_ARM = frozenset({"import_failures", "import_seconds", "lag_seconds"})
"""The measures that can be told of an arm."""

ON, OFF = "on", "off"
COUNTED = 50_000
"""Mirrors that are looked at to tell how large the arms are; of more, every so-manieth."""

LOOKED_AT = 1_000
"""Waiting mirrors, the longest-waiting first, whose waiting is told by arm."""

HOSTS = 50
"""Hosts whose lines these are taken from."""

Arms = dict[str, dict[str, float]]
Place = tuple[int, str, str]
"""A mirror's id, group and host: what decides on which side it is."""


@dataclass
class Split:
    """Who has a flag. Without a rollout's step to go by it is what the row says."""

    flag: str
    kind: ActorKind
    state: State
    _hosts: dict[str, bool] = field(default_factory=dict)

    def side(self, place: Place) -> str:
        """Return the arm of a mirror."""
        number, group, host = place
        if self.kind is ActorKind.HOST:
            if host not in self._hosts:
                self._hosts[host] = self.state.is_on(self.flag, Actor("host", host))
            return ON if self._hosts[host] else OFF
        actor = Actor("mirror", str(number), (Actor("group", group), Actor("host", host)))
        return ON if self.state.is_on(self.flag, actor) else OFF


def split_of(rollout: Rollout, *, now: datetime) -> Split | None:
    """Return who has the flag of a rollout now; in a shadow rollout, who would have it. None: it has no arms."""
    kind, value = rollout.steps[rollout.step]
    if kind != StepKind.PERCENTAGE:
        return None
    if rollout.shadow:
        state = State(is_set=True, percentage=Decimal(value))
    else:
        state = readings.read(rollout.flag, now=now).state
    return Split(rollout.flag, registry.definition(rollout.flag).actor, state)


def sizes(split: Split) -> dict[str, int]:
    """Return how many mirrors each arm has, from a part of them if they are many."""
    mirrors = Mirror.objects.kept()
    every = max(1, mirrors.count() // COUNTED)
    looked_at = mirrors.annotate(rest=F("pk") % every).filter(rest=0) if every > 1 else mirrors
    found = {ON: 0, OFF: 0}
    for place in looked_at.values_list("pk", "group__name", "host__name").iterator(chunk_size=5_000):
        found[split.side(place)] += every
    return found


def measure_all(*, since: datetime, now: datetime) -> dict[str, Arms]:
    """Return the arms of every flag that is rolled out by actor now: what happened in each since the last sample."""
    found = {}
    for rollout in Rollout.objects.filter(state__in=ACTIVE):
        split = split_of(rollout, now=now)
        if split is not None:
            # An import that began under an earlier step may have begun in the other arm.
            found[rollout.flag] = _measure(split, since=since, began=rollout.step_started_at, now=now)
    return found


def _measure(split: Split, *, since: datetime, began: datetime, now: datetime) -> Arms:
    """Count in each arm the imports that ended, and the mirrors that began to fail.

    One that goes on failing is counted once: mirrors that had failed before the flag would else decide by chance.
    """
    arms = {name: dict.fromkeys(("imports", "import_failures", "seconds"), 0.0) for name in (ON, OFF)}
    ended = ImportAttempt.objects.filter(
        ended_at__gt=since, ended_at__lte=now, started_at__gte=began
    ).order_by()
    earlier = ImportAttempt.objects.filter(mirror=OuterRef("mirror"), started_at__lt=OuterRef("started_at"))
    ended = ended.annotate(before=Subquery(earlier.order_by("-started_at").values("outcome")[:1]))
    fields = ("mirror_id", "mirror__group__name", "mirror__host__name", "outcome", "before")
    for number, group, host, outcome, before, started_at, ended_at in ended.values_list(
        *fields, "started_at", "ended_at"
    ):
        arm = arms[split.side((number, group, host))]
        arm["imports"] += 1
        arm["import_failures"] += outcome not in SUCCESSES and (before is None or before in SUCCESSES)
        arm["seconds"] += (ended_at - started_at).total_seconds()
    for name, lag in _lags(split, now=now).items():
        arms[name]["lag_seconds"] = lag
    return arms


def _lags(split: Split, *, now: datetime) -> dict[str, float]:
    """Return how long the waiting mirrors of each arm have waited on average, in their rows or before the door."""
    place = ("mirror_id", "mirror__group__name", "mirror__host__name")
    queued = ImportState.objects.filter(claim_expires_at__isnull=False, status__in=AT_REST, urgent=False)
    waiting = list(
        chain(
            *(line.values_list(*place, "next_execution_at") for line in _lines(now=now)),
            queued.order_by("next_execution_at").values_list(*place, "next_execution_at")[:LOOKED_AT],
        )
    )
    waited: dict[str, list[timedelta]] = {ON: [], OFF: []}
    for number, group, host, since in waiting:
        waited[split.side((number, group, host))].append(max(timedelta(0), now - since))
    # An arm of which none is among the longest-waiting has waited no longer than the last of these.
    least = min(chain(*waited.values())) if len(waiting) >= LOOKED_AT else timedelta(0)
    return {
        name: round((sum(each, timedelta(0)) / len(each) if each else least).total_seconds(), 3)
        for name, each in waited.items()
    }


def _lines(*, now: datetime) -> Iterator[QuerySet[ImportState]]:
    """Yield the beginnings of the lines of hosts, those that have waited longest first: the index is by host."""
    due = ImportState.objects.overdue(now=now).filter(urgent=False).order_by("import_due_at")
    first = due.filter(host=OuterRef("pk")).values("next_execution_at")[:1]
    waiting = Host.objects.annotate(first=Subquery(first)).filter(first__isnull=False).order_by("first")
    hosts = list(waiting.values_list("pk", flat=True)[: min(HOSTS, LOOKED_AT)])
    for host in hosts:
        yield due.filter(host=host)[: LOOKED_AT // len(hosts)]


def told(rows: Iterable[Any], flag: str) -> list[Mapping[str, Mapping[str, float]]]:
    """Return the arms of a flag in each sample that has them."""
    return [row.arms[flag] for row in rows if flag in row.arms]


def values(
    metric: str, name: str, looks: Sequence[Mapping[str, Mapping[str, float]]], *, scale: float
) -> list[float]:
    """Return a measure of one arm, a value for each look; `scale` makes counts of arms of two sizes comparable."""
    arm = [look[name] for look in looks]
    if metric == "import_seconds":
        return [each["seconds"] / each["imports"] for each in arm if each["imports"]]
    return [each[metric] * (scale if metric == "import_failures" else 1.0) for each in arm]


def ended(name: str, looks: Sequence[Mapping[str, Mapping[str, float]]]) -> int:
    """Return how many imports have ended in an arm."""
    return int(sum(look[name]["imports"] for look in looks))
