"""How much of the capacity an upstream host may have, and when it is left alone.

A host earns its slots: it begins with a part of them, gets one more for each good answer until it first shows that it
is overloaded, and then more slowly (additive increase); an overload halves them (multiplicative decrease, once for
all that was in flight then). Failures in a row with no answer between them open a breaker: the host is left alone
for a while, twice as long each time, and then tried with one import.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

START_PERCENT = 25
"""Of the capacity: what a host begins with. A dead one never holds more."""

FAILURES_BEFORE_COOLING = 5
COOL_FIRST = timedelta(seconds=15)
COOL_LONGEST = timedelta(minutes=10)
RETRY_AFTER_LONGEST = timedelta(hours=1)
"""A server may ask for more; it is asked again after this."""

REASON_LENGTH = 200


class Signal(StrEnum):
    """What the end of one import says of the host."""

    NONE = "none"  # It was not about the host: our disk, a person, a repository of ours.
    ANSWERS = "answers"  # It answered in good order, be it with a refusal.
    OVERLOADED = "overloaded"  # It said so: 429, 503, or that it should be tried later.
    UNREACHABLE = "unreachable"  # It did not answer, or not in time.


@dataclass(frozen=True)
class Bounds:
    """What all hosts are held to: slots that a new one begins with, and slots that none may exceed."""

    start: int
    ceiling: int
    adaptive: bool = True


UNBOUNDED = Bounds(start=1_000_000, ceiling=1_000_000, adaptive=False)


def bounds(capacity: int, *, share_percent: int, adaptive: bool = True) -> Bounds:
    """Return the bounds within a capacity. What is left to the other hosts is rounded down: of few slots, none."""
    ceiling = max(1, capacity - capacity * (100 - share_percent) // 100)
    start = -(-capacity * START_PERCENT // 100) if adaptive else ceiling
    return Bounds(start=max(1, min(start, ceiling)), ceiling=ceiling, adaptive=adaptive)


@dataclass(frozen=True)
class Standing:
    """What is known of a host. `slots`: earned, None for a new one; `knee`: where it was last overloaded, halved."""

    slots: int | None = None
    knee: int | None = None
    failures: int = 0
    coolings: int = 0
    cooling_until: datetime | None = None
    cooling_reason: str = ""
    lowered_at: datetime | None = None

    def is_cooling(self, now: datetime) -> bool:
        """Say whether the host is left alone."""
        return self.cooling_until is not None and self.cooling_until > now

    def limit(self, bounds: Bounds, *, max_slots: int | None, now: datetime) -> int:
        """Return how many imports of the host may hold a slot; `max_slots` is what a person allows."""
        allowed = bounds.ceiling if max_slots is None else min(max_slots, bounds.ceiling)
        if not bounds.adaptive:
            return allowed
        if self.is_cooling(now):
            return 0
        return min(bounds.start if self.slots is None else self.slots, allowed)


@dataclass(frozen=True)
class Report:
    """What one import found out. `started_at`: when it began; `retry_after`: what the host asked for."""

    signal: Signal
    reason: str
    started_at: datetime
    retry_after: timedelta | None = None


def after(standing: Standing, report: Report, *, bounds: Bounds, now: datetime, dice: float) -> Standing:
    """Return what is known of the host after an import. `dice`: a random share in [0, 1)."""
    match report.signal:
        case Signal.ANSWERS:
            return _after_answer(standing, bounds=bounds, now=now, dice=dice)
        case Signal.OVERLOADED | Signal.UNREACHABLE:
            return _after_failure(standing, report, bounds=bounds, now=now)
        case _:
            return standing


def _after_answer(standing: Standing, *, bounds: Bounds, now: datetime, dice: float) -> Standing:
    """One slot more; above the knee one more for a round of answers. A host that asked for a pause has it."""
    if standing.is_cooling(now) and standing.failures < FAILURES_BEFORE_COOLING:
        return standing
    slots = bounds.start if standing.slots is None else standing.slots
    grows = standing.knee is None or slots < standing.knee or dice * slots < 1
    return replace(
        standing,
        # Nothing is written for a host that has all it may have.
        slots=min(slots + 1, bounds.ceiling) if grows and slots < bounds.ceiling else standing.slots,
        failures=0,
        coolings=0,
        cooling_until=None,
        cooling_reason="",
    )


def _after_failure(standing: Standing, report: Report, *, bounds: Bounds, now: datetime) -> Standing:
    failed = _lowered(replace(standing, failures=standing.failures + 1), report, bounds=bounds, now=now)
    if report.retry_after is not None:
        asked = now + min(max(report.retry_after, timedelta(0)), RETRY_AFTER_LONGEST)
        if standing.cooling_until is None or asked > standing.cooling_until:
            return _cooled(failed, until=asked, reason=report.reason)
        return failed
    if failed.failures < FAILURES_BEFORE_COOLING or standing.is_cooling(now):
        return failed
    span = min(COOL_FIRST * 2 ** min(standing.coolings, 10), COOL_LONGEST)
    one_by_one = replace(failed, slots=1, coolings=standing.coolings + 1)
    return _cooled(one_by_one, until=now + span, reason=report.reason)


def _lowered(standing: Standing, report: Report, *, bounds: Bounds, now: datetime) -> Standing:
    """Halve the slots, once for all imports that were in flight together."""
    if standing.lowered_at is not None and report.started_at <= standing.lowered_at:
        return standing
    half = max(1, min(bounds.start if standing.slots is None else standing.slots, bounds.ceiling) // 2)
    return replace(standing, slots=half, knee=half, lowered_at=now)


def _cooled(standing: Standing, *, until: datetime, reason: str) -> Standing:
    return replace(standing, cooling_until=until, cooling_reason=reason[:REASON_LENGTH])
