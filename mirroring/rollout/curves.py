"""The curve of each guard over a rollout as the points of a drawing: the measure, its bound, and the steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean

from mirroring.models import MetricSample, Rollout
from mirroring.rollout import arms
from mirroring.rollout.controller import guards_of
from mirroring.rollout.guards import Guard, Kind
from mirroring.rollout.measures import FLOORS, series_of

WIDTH, HEIGHT = 640, 120
BEFORE = timedelta(minutes=5)
MOST_POINTS = 640
"""A point to a pixel: more could not be seen."""


@dataclass(frozen=True)
class Mark:
    """Where something happened."""

    x: float
    label: str
    kind: str


@dataclass(frozen=True)
class Curve:
    """One guard's drawing. `bound_y` is None where there is nothing to hold it against."""

    guard: str
    verdict: str
    why: str
    points: str
    bound_y: float | None
    top: float
    marks: list[Mark]


def curves(rollout: Rollout, *, now: datetime) -> list[Curve]:
    """Return a curve for each guard of the flag, from a little before the rollout to its end."""
    begin, end = rollout.started_at - BEFORE, max(rollout.ended_at or now, rollout.started_at)
    end += timedelta(seconds=30)
    rows = list(MetricSample.objects.filter(at__gt=begin, at__lte=end).order_by("at"))
    rows = rows[:: max(1, len(rows) // MOST_POINTS)]
    marks = _marks(rollout, begin, end)
    said = {each["guard"]: each for each in rollout.judgements}
    return [
        _curve(guard, rollout, rows, (begin, end), marks, said.get(str(guard), {}))
        for guard in guards_of(rollout.flag)
    ]


def _curve(
    guard: Guard,
    rollout: Rollout,
    rows: Sequence[MetricSample],
    span: tuple[datetime, datetime],
    marks: list[Mark],
    said: dict[str, str],
) -> Curve:
    values, before = _values(guard, rollout, rows)
    bound = bound_of(guard, before)
    top = max([value for _, value in values] + [bound or 0.0, 0.001]) * 1.1
    points = " ".join(f"{_x(at, span):.1f},{_y(value, top):.1f}" for at, value in values)
    bound_y = None if bound is None else round(_y(bound, top), 1)
    return Curve(
        str(guard),
        said.get("verdict", "no_data"),
        said.get("why", "not judged yet"),
        points,
        bound_y,
        top,
        marks,
    )


def _values(
    guard: Guard, rollout: Rollout, rows: Sequence[MetricSample]
) -> tuple[list[tuple[datetime, float]], Sequence[float]]:
    """Return the points of a guard, and what they are held against: the other arm where it is judged by arm."""
    having, lacking = (rollout.arm_sizes.get(name, 0) for name in (arms.ON, arms.OFF))
    if guard.metric in arms.BY_ARM and having and lacking:
        told = [(row.at, row.arms[rollout.flag]) for row in rows if rollout.flag in row.arms]
        points = [(at, arms.values(guard.metric, arms.ON, [look], scale=1.0)) for at, look in told]
        beside = arms.values(guard.metric, arms.OFF, [look for _, look in told], scale=having / lacking)
        return [(at, each[0]) for at, each in points if each], beside
    name = series_of(guard)
    return [(row.at, row.values[name]) for row in rows if name in row.values], rollout.baseline.get(name, [])


def bound_of(guard: Guard, before: Sequence[float]) -> float | None:
    """Return the bound in the unit of the measure; None where a multiple has nothing to be a multiple of."""
    if guard.kind is Kind.ABSOLUTE:
        return guard.bound
    if not before:
        return None
    base = max(before) if guard.kind is Kind.PEAK else fmean(before)
    if guard.kind is Kind.DIFFERENCE:
        return base + guard.bound
    return max(base, FLOORS.get(guard.metric, 0.0)) * guard.bound


def _marks(rollout: Rollout, begin: datetime, end: datetime) -> list[Mark]:
    shown = {"step", "held", "resumed", "rolled_back", "done", "paused", "confirmed"}
    events = [event for event in rollout.events.all() if event.kind in shown]
    return [Mark(round(_x(event.at, (begin, end)), 1), event.text, event.kind) for event in events]


def _x(at: datetime, span: tuple[datetime, datetime]) -> float:
    begin, end = span
    return WIDTH * (at - begin) / (end - begin)


def _y(value: float, top: float) -> float:
    return HEIGHT - HEIGHT * value / top
