"""What the two positions of the second flag cost Redis, and how many jobs went beyond the capacity."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.verify.seed.evidence import Walk

Event = dict[str, Any]
BOUNDS = {"redis_round_trips_ratio": 1.0, "redis_calls_ratio": 1.1, "redis_peak_ratio": 1.5}
LEAST_SCHEDULED = 10


@dataclass(frozen=True)
class Arm:
    """One window: mirrors that got a slot, reads and calls of the server, its busiest second, jobs beyond."""

    seconds: float
    scheduled: int
    reads: int
    calls: int
    busiest: float
    over_scheduled: int
    tracker_commands: int
    broker_commands: int


def figures(walk: Walk) -> dict[str, float | int]:
    """Return the ratios of on to off, and what was scheduled beyond the capacity in each."""
    recorded = walk.recorded("service")
    arms = {
        window["arm"]: measure(
            recorded, begin=window["begin"], end=window["end"], capacity=walk.plan["capacity"]
        )
        for window in walk.noted("window")
    }
    if set(arms) != {"off", "on"}:
        walk.complain(f"both arms have to be measured, found {sorted(arms)}")
        return {}
    off, on = arms["off"], arms["on"]
    for name, arm in arms.items():
        if arm.scheduled < LEAST_SCHEDULED or arm.seconds < 0.8 * walk.plan["seconds"]:
            walk.complain(f"arm {name}: {arm.scheduled} mirrors in {arm.seconds:.0f} s are too few to judge")
            return {}
    found: dict[str, float | int] = {
        "redis_round_trips_ratio": _ratio(on.reads / on.scheduled, off.reads / off.scheduled),
        "redis_calls_ratio": _ratio(on.calls / on.scheduled, off.calls / off.scheduled),
        "redis_peak_ratio": _ratio(on.busiest, off.busiest),
        "over_scheduled_off": off.over_scheduled,
        "over_scheduled_on": on.over_scheduled,
    }
    for name, bound in BOUNDS.items():
        if found[name] > bound:
            walk.complain(f"{name}={found[name]} is above {bound}")
    if not off.over_scheduled:
        walk.complain("with the flags off nothing was scheduled beyond the capacity: the queue was not slow")
    if on.over_scheduled:
        walk.complain(f"with the flags on {on.over_scheduled} jobs were scheduled beyond the capacity")
    return found


def in_words(walk: Walk) -> list[str]:
    """Return both arms in absolute figures, for who wants to know more than the ratios."""
    lines = []
    for window in walk.noted("window"):
        arm = measure(
            walk.recorded("service"),
            begin=window["begin"],
            end=window["end"],
            capacity=walk.plan["capacity"],
        )
        per = max(1, arm.scheduled)
        lines.append(
            f"flags {window['arm']}: {arm.scheduled} mirrors scheduled in {arm.seconds:.0f} s; a mirror cost "
            f"{arm.reads / per:.1f} round trips (tracker {arm.tracker_commands / per:.1f}, broker "
            f"{arm.broker_commands / per:.1f} commands) and {arm.calls / per:.1f} server calls; busiest second "
            f"{arm.busiest:.0f} calls; {arm.over_scheduled} jobs beyond the capacity"
        )
    return lines


def measure(recorded: list[Event], *, begin: float, end: float, capacity: int) -> Arm:
    """Return the figures of one window of a recording."""
    done = [event for event in recorded if event["e"] == "done" and begin <= event["t"] <= end]
    first, last = (done[0], done[-1]) if len(done) > 1 else ({}, {})
    span = last.get("t", 0.0) - first.get("t", 0.0)

    def grown(name: str) -> int:
        return int(last.get(name, 0) - first.get(name, 0))

    rates = [
        (after["calls"] - before["calls"]) / (after["t"] - before["t"]) for before, after in pairwise(done)
    ]
    scheduled, over = _jobs(recorded, begin=first.get("t", 0.0), end=last.get("t", 0.0), capacity=capacity)
    return Arm(
        seconds=span,
        scheduled=scheduled,
        reads=grown("reads"),
        calls=grown("calls"),
        busiest=max(rates, default=0.0),
        over_scheduled=over,
        tracker_commands=grown("tracker_commands"),
        broker_commands=grown("broker_commands"),
    )


def _jobs(recorded: list[Event], *, begin: float, end: float, capacity: int) -> tuple[int, int]:
    """Count slots that were given, and jobs that were enqueued when capacity - importing - not yet handed over was 0.

    The recording begins before the window, so that what is on its way by then is known.
    """
    waiting: set[str] = set()
    importing: set[str] = set()
    scheduled = over = 0
    for event in recorded:
        inside = begin <= event["t"] <= end
        token = event.get("token", "")
        match event["e"]:
            case "enqueued":
                over += inside and len(waiting) + len(importing) >= capacity
                waiting.add(token)
            case "handed_over":
                waiting.discard(token)
            case "slot":
                waiting.discard(token)
                scheduled += inside and token not in importing
                importing.add(token)
            case "freed":
                importing.discard(token)
                waiting.discard(token)
    return scheduled, over


def _ratio(on: float, off: float) -> float:
    return round(on / off, 3) if off else float("inf")
