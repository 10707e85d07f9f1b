"""Windows on the samples: the two lists of values that a guard compares."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from mirroring.models import Rollout
from mirroring.models.flag_change import FlagChange
from mirroring.models.metric_sample import MetricSample
from mirroring.rollout import arms
from mirroring.rollout.guards import Guard, Judgement, Reading, Verdict, judge
from mirroring.rollout.measures import FLOORS, series_of

MIN_SAMPLES = 3
WINDOW = 6
"""Values that are judged at once: as many as make half a minute, so that a breach is not diluted by a long step."""

BASELINE = 60
BASELINE_SPAN = timedelta(hours=1)
STALE = timedelta(seconds=20)
"""Without a sample for this long there is no data, whatever was seen before."""

MIN_IMPORTS = 10
"""Imports that must have ended in each arm before what they were like says anything."""

FAILURES = 3.0
"""Failed imports in the arm with the flag from which a multiple counts: one or two are bad luck."""

LONGEST = 720
"""Samples of a step that are looked at for enough imports: an hour."""

Baseline = dict[str, list[float]]
Look = Mapping[str, Mapping[str, float]]


def baseline(guards: Sequence[Guard], *, flag: str, now: datetime) -> Baseline:
    """Return the last values from before a rollout, none of them from before the flag's last change."""
    changed = FlagChange.objects.filter(flag=flag).values_list("at", flat=True).first()
    since = max(changed, now - BASELINE_SPAN) if changed else now - BASELINE_SPAN
    rows = list(MetricSample.objects.filter(at__gt=since, at__lte=now).order_by("-at")[:BASELINE])
    return {name: _series(rows, name) for name in map(series_of, guards)}


def current(guard: Guard, *, since: datetime, now: datetime) -> Reading:
    """Return the latest values of the step. An error counts while the newest sample has it."""
    rows = list(MetricSample.objects.filter(at__gt=since, at__lte=now).order_by("-at")[: 4 * WINDOW])
    floor = FLOORS.get(guard.metric, 0.0)
    if not rows or now - rows[0].at > STALE:
        return Reading(floor=floor)
    error = rows[0].errors.get(guard.metric)
    return Reading(_series(rows, series_of(guard))[:WINDOW], [error] if error else [], floor)


def before(guard: Guard, kept: Baseline) -> Reading:
    """Return the values that a rollout kept from before it began."""
    return Reading(kept.get(series_of(guard), []), floor=FLOORS.get(guard.metric, 0.0))


def judged(guard: Guard, rollout: Rollout, *, since: datetime, now: datetime) -> Judgement:
    """Judge one guard: by arm where both arms have mirrors and the measure can be told of them, else by before."""
    having, lacking = (rollout.arm_sizes.get(name, 0) for name in (arms.ON, arms.OFF))
    if guard.metric in arms.BY_ARM and lacking:
        if not having:
            return Judgement(
                guard, Verdict.GOOD, why="no mirror has it at this share: there is nothing to judge"
            )
        return _by_arm(guard, rollout, since=since, now=now)
    return judge(
        guard, before(guard, rollout.baseline), current(guard, since=since, now=now), min_samples=MIN_SAMPLES
    )


def _by_arm(guard: Guard, rollout: Rollout, *, since: datetime, now: datetime) -> Judgement:
    """Compare the mirrors that have the flag with those that have it not, over the same samples."""
    rows = list(MetricSample.objects.filter(at__gt=since, at__lte=now).order_by("-at")[:LONGEST])
    fresh = rows and now - rows[0].at <= STALE
    looks = _enough(arms.told(rows, rollout.flag)) if fresh else []
    lagging = guard.metric == "lag_seconds"
    floor = (
        FAILURES / len(looks)
        if looks and guard.metric == "import_failures"
        else FLOORS.get(guard.metric, 0.0)
    )
    scale = rollout.arm_sizes[arms.ON] / rollout.arm_sizes[arms.OFF]
    lacking, having = (
        Reading(
            arms.values(guard.metric, name, looks, scale=by),
            floor=floor,
            seen=len(looks) if lagging else arms.ended(name, looks),
        )
        for name, by in ((arms.OFF, scale), (arms.ON, 1.0))
    )
    found = judge(guard, lacking, having, min_samples=MIN_SAMPLES if lagging else MIN_IMPORTS)
    return replace(found, why=f"{found.why} (before: the mirrors without it, at the same time)")


def _enough(looks: Sequence[Look]) -> Sequence[Look]:
    """Return the latest looks: as few as are judged at once, or as it takes until both arms have shown enough."""
    for number in range(WINDOW, len(looks)):
        if all(arms.ended(name, looks[:number]) >= MIN_IMPORTS for name in (arms.ON, arms.OFF)):
            return looks[:number]
    return looks


def _series(rows: Sequence[MetricSample], name: str) -> list[float]:
    return [row.values[name] for row in rows if name in row.values]
