"""How old a mirror is, in words: a stale mirror has to look stale."""

from datetime import datetime, timedelta
from enum import StrEnum

from mirroring.models import Mirror
from mirroring.rules.cadence import Cadence

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


class Freshness(StrEnum):
    """Whether what a mirror holds can be called current."""

    NEW = "new"
    FRESH = "fresh"
    STALE = "stale"


def freshness(mirror: Mirror, *, now: datetime, cadence: Cadence) -> Freshness:
    """Judge a mirror by its last success: stale is what is older than the longest wait of a healthy mirror.

    One that never succeeded is new until it fails or that wait is over.
    """
    oldest = now - cadence.max_delay - cadence.jitter
    success = mirror.state.last_successful_update_at
    if success is not None:
        return Freshness.FRESH if success >= oldest else Freshness.STALE
    waits = mirror.created_at >= oldest and not mirror.state.retry_count and not mirror.state.hard_failed
    return Freshness.NEW if waits else Freshness.STALE


def in_words(instant: datetime | None, *, now: datetime) -> str:
    """Return '3 minutes ago', 'in 2 hours', 'now' or 'never'."""
    if instant is None:
        return "never"
    distance = instant - now
    seconds = round(abs(distance) / timedelta(seconds=1))
    for size, unit in _UNITS:
        if seconds >= size:
            count = seconds // size
            words = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"in {words}" if distance > timedelta(0) else f"{words} ago"
    return "now"
